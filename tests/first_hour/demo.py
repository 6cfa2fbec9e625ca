"""The demo, as `make demo` runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Demo(NamedTuple):
    """A running demo: its page, and the file with the labels to edit."""

    url: str
    namespaces_file: Path
    said: str


@contextmanager
def running_demo() -> Iterator[Demo]:
    """Run `livery demo` until the end of the block, then end it as Ctrl-C would."""
    with subprocess.Popen(
        [sys.executable, "-m", "injector", "demo"],
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines: list[str] = []
            for line in process.stdout or ():
                lines.append(line)
                if "Ctrl-C ends the demo" in line:
                    break
            said = "".join(lines)
            page = re.search(r"status page (http://\S+)", said)
            file = re.search(r"^ +(/\S+namespaces\.yaml)$", said, re.MULTILINE)
            if page is None or file is None:
                raise RuntimeError(f"the demo did not start: {said[-2000:]}")
            yield Demo(page[1], Path(file[1]), said)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)

"""Runs a real server for as long as it is needed."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

READY_SECONDS = 20.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def running_server(command: Sequence[str], ready_url: str, directory: Path) -> Iterator[None]:
    """Runs a command in a directory, with its log there; yields once `ready_url` answers."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        _wait_until_ready(ready_url, process, log)
        yield
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _opener.open(url, timeout=5).close()
        except OSError:  # including a response that it is not ready
            time.sleep(0.05)
        else:
            return
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
    raise RuntimeError(f"{process.args!r} does not get ready; its log ends with:\n{last}")

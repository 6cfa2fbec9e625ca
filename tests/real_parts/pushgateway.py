"""Runs a real Pushgateway."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.go import RealPartMissing
from tests.real_parts.ports import free_port
from tests.real_parts.server import running_server


def pushgateway_program() -> Path:
    """Returns the path of Debian's Pushgateway, or of another one on PATH."""
    found = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    if found is None:
        raise RealPartMissing("Pushgateway", "apt-get install prometheus-pushgateway")
    return Path(found)


@contextmanager
def running_pushgateway(directory: Path) -> Iterator[int]:
    """Runs a Pushgateway; yields its port."""
    port = free_port()
    command = [str(pushgateway_program()), f"--web.listen-address=127.0.0.1:{port}"]
    with running_server(command, f"http://127.0.0.1:{port}/-/ready", directory):
        yield port

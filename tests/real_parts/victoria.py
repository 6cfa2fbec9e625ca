"""Runs real programs of VictoriaMetrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.go import RealPartMissing
from tests.real_parts.ports import free_port
from tests.real_parts.server import running_server


def victoria_program(name: str) -> Path:
    """Returns the path of `victoria-metrics` or `vmagent`."""
    found = shutil.which(name)
    if found is None:
        raise RealPartMissing(name, "apt-get install victoria-metrics")
    return Path(found)


@contextmanager
def running_victoria(directory: Path) -> Iterator[int]:
    """Runs a single-node VictoriaMetrics; yields its port."""
    port = free_port()
    command = [
        str(victoria_program("victoria-metrics")),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={directory / 'data'}",
    ]
    with running_server(command, f"http://127.0.0.1:{port}/health", directory):
        yield port

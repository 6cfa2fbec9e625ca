"""Runs a real Alertmanager."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.go import RealPartMissing
from tests.real_parts.ports import free_port
from tests.real_parts.server import running_server


def alertmanager_program() -> Path:
    """Returns the path of Debian's Alertmanager, or of another one on PATH."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found is None:
        raise RealPartMissing("Alertmanager", "apt-get install prometheus-alertmanager")
    return Path(found)


@contextmanager
def running_alertmanager(config_text: str, directory: Path) -> Iterator[str]:
    """Runs Alertmanager with a configuration; yields its address."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "alertmanager.yml").write_text(config_text, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(alertmanager_program()),
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running_server(command, f"http://{address}/-/ready", directory):
        yield address

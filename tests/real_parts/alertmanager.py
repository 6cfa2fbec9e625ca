"""Runs a real Alertmanager."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.go import RealPartMissing
from tests.real_parts.ports import free_port

READY_SECONDS = 20.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def alertmanager_program() -> Path:
    """Returns the path of Debian's Alertmanager, or of one on the path."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found is None:
        raise RealPartMissing("Alertmanager", "apt-get install prometheus-alertmanager")
    return Path(found)


@contextmanager
def running_alertmanager(config_text: str, directory: Path) -> Iterator[str]:
    """Runs Alertmanager with a configuration until the end; gives its address."""
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
    log = directory / "alertmanager.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        _wait_until_ready(address, process, log)
        yield address
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _opener.open(f"http://{address}/-/ready", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
    raise RuntimeError(f"Alertmanager does not get ready; its log ends with:\n{last}")

"""Runs a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real_parts.go import RealPartMissing, build
from tests.real_parts.ports import free_port

MODULE = Path(__file__).parent / "prometheus_module"
COMMANDS = "github.com/prometheus/prometheus/cmd/"
# Without the cloud providers' service discovery; Kubernetes, static, file and HTTP discovery stay.
TAGS = "remove_all_sd,enable_kubernetes_sd"
READY_SECONDS = 30.0
END_SECONDS = 10.0

# Servers on this host are not reached through a proxy from the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    pid: int

    def query(self, expr: str) -> list[Any]:
        """Returns the result of an instant query."""
        answer = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
        result: list[Any] = json.loads(answer)["data"]["result"]
        return result

    def get(self, path: str) -> bytes:
        """Returns the body of a page; an error status is an OSError with the server's message."""
        try:
            with _opener.open(self.url + path, timeout=10) as response:
                body: bytes = response.read()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode("utf-8", "replace").strip()
            raise OSError(f"{error.code} from {path}: {said}") from error
        return body


def prometheus_program() -> Path:
    """Returns the path of the prometheus program; builds it if needed."""
    return build(MODULE, COMMANDS + "prometheus", "prometheus", tags=TAGS)


def promtool_program() -> Path:
    """Returns the path of the promtool program; builds it if needed."""
    return build(MODULE, COMMANDS + "promtool", "promtool", tags=TAGS)


def debian_prometheus_program() -> Path:
    """Returns the path of Debian's Prometheus, 2.42, which many still run."""
    path = Path("/usr/bin/prometheus")
    if not path.exists():
        raise RealPartMissing("Prometheus 2.42", "apt-get install prometheus")
    return path


@contextmanager
def running_prometheus(
    config_text: str, directory: Path, program: Path | None = None, flags: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """Runs Prometheus with a configuration, with all its files in the directory."""
    program = program or prometheus_program()
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "prometheus.yml"
    config.write_text(config_text, encoding="utf-8")
    log = directory / "prometheus.log"
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
        # Scrape targets at once, not only after the default of five seconds.
        "--scrape.discovery-reload-interval=100ms",
        *flags,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        running = Prometheus(f"http://{address}", process.pid)
        _wait_until_ready(running, process, log)
        yield running
    finally:
        _end(process)


def _wait_until_ready(running: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            running.get("/-/ready")
        except OSError:
            time.sleep(0.05)
        else:
            return
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
    raise RuntimeError(f"Prometheus does not get ready; its log ends with:\n{last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""`livery serve`, as a process: it serves, logs problems, and ends on SIGTERM."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.injector.conftest import Livery

_BROKEN = """
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {name: rules, namespace: shop}
spec: {metrics: [up, "a("], metricIsolation: true}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _serving(folder: Path, metrics_port: int) -> Iterator[subprocess.Popen[str]]:
    arguments = [
        "--manifests", folder / "world", "--tokens", folder / "tokens", "--certs", folder / "certs",
        "--host", "127.0.0.1", "--admission-port", _free_port(), "--control-port", _free_port(),
        "--metrics-port", metrics_port, "--status-port", _free_port(),
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "injector", "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _messages(process: subprocess.Popen[str]) -> Iterator[dict[str, object]]:
    assert process.stderr is not None
    yield from map(json.loads, iter(process.stderr.readline, ""))


def test_it_serves_a_folder_until_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    port = _free_port()

    with _serving(tmp_path, port) as process:
        serving = next(item for item in _messages(process) if item["msg"] == "serving")
        assert serving["metrics"] == port
        url = f"http://127.0.0.1:{port}/readyz"
        for _ in range(100):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.read() == b"ok\n"
                break
            time.sleep(0.05)
        else:
            raise AssertionError("it never became ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_rules_that_are_not_in_force_are_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "access.yaml").write_text(_BROKEN)

    with _serving(tmp_path, _free_port()) as process:
        wanted = "MetricAccess object is not fully active"
        said = next(item for item in _messages(process) if item["msg"] == wanted)

    assert (said["namespace"], said["object"], said["count"]) == ("shop", "rules", 1)
    assert "pattern 'a(':" in str(said["problems"])


def test_a_folder_that_is_not_there_is_a_wrong_call(livery: Livery, tmp_path: Path) -> None:
    ran = livery("serve", "--manifests", tmp_path / "none")

    assert ran.code == 2
    assert ": no such folder or file" in ran.err

"""`livery targets` against a fake kubelet over real TLS."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.injector.conftest import Livery
from tests.sidecar.apps import App, http
from tests.sidecar.kubelets import AUTHORITY, kubelet_tls, pod, tell_pods

PODS = tell_pods(pod("shop", "web"), pod("bank", "app", ip="10.0.0.2"))


@pytest.fixture
def kubelet() -> Iterator[App]:
    """A kubelet in its own thread, because the command runs its own event loop."""
    loop = asyncio.new_event_loop()
    app = App(PODS, tls=kubelet_tls())
    loop.run_until_complete(app.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield app
    asyncio.run_coroutine_threadsafe(app.__aexit__(None, None, None), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
def asking(kubelet: App, tmp_path: Path) -> list[str]:
    """Arguments that point to the kubelet."""
    (tmp_path / "ca.crt").write_text(AUTHORITY.certificate_pem)
    (tmp_path / "token").write_text("secret")
    url = f"https://127.0.0.1:{kubelet.port}"
    return [
        "--url", url, "--ca-file", str(tmp_path / "ca.crt"),
        "--bearer-token-file", str(tmp_path / "token"),
    ]  # fmt: skip


def test_the_targets_are_told_once(livery: Livery, kubelet: App, asking: list[str]) -> None:
    ran = livery("targets", *asking, "--once")

    assert (ran.code, ran.err) == (0, "")
    assert [group["targets"] for group in json.loads(ran.out)] == [["10.0.0.2:80"], ["10.0.0.1:80"]]
    assert "Authorization: Bearer secret\r\n" in kubelet.requests[0]


def test_the_command_line_goes_before_the_document(
    livery: Livery, asking: list[str], tmp_path: Path
) -> None:
    config, policy = tmp_path / "c.yaml", tmp_path / "p.yaml"
    config.write_text("url: https://127.0.0.1:1\nnamespaces: [bank]\nbearer_token: x\n")
    policy.write_text("namespaces: {shop: {team: frontend}}")
    both = [*asking, "--config", config, "--policy", policy, "--once"]

    (bank,) = json.loads(livery("targets", *both).out)
    (shop,) = json.loads(livery("targets", *both, "--namespace", "shop").out)

    assert bank["labels"]["__meta_kubernetes_namespace"] == "bank"
    assert shop["labels"]["__meta_kubernetes_namespace_label_team"] == "frontend"


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (lambda app, folder: ["--insecure-skip-verify", "--ca-file", folder / "none"], 0, ""),
        (lambda app, folder: ["--ca-file", folder / "none"], 2, "tls_config.ca_file"),
        (lambda app, folder: ["--config", folder / "none"], 2, "none: "),
        (lambda app, folder: ["--policy", folder / "none"], 2, "none: "),
        (lambda app, folder: ["--bearer-token-file", folder / "none"], 1, "bearer_token_file"),
        (lambda app, folder: setattr(app, "answer", http(b"", status="403 No")), 1, "nodes/pods"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    livery: Livery,
    kubelet: App,
    asking: list[str],
    tmp_path: Path,
    change: Callable[[App, Path], Any],
    code: int,
    reason: str,
) -> None:
    ran = livery("targets", *asking, *(change(kubelet, tmp_path) or []), "--once")

    assert (ran.code, reason in ran.err) == (code, True)
    assert ran.err.count("\n") == (1 if code else 0)


def test_changes_are_told_line_by_line_and_a_failure_empties_nothing(
    kubelet: App, asking: list[str], tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("refresh_interval: 50ms")
    command = [sys.executable, "-m", "injector", "targets", *asking]
    with subprocess.Popen(
        [*command, "--config", str(tmp_path / "c.yaml")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert len(json.loads(process.stdout.readline())) == 2
            kubelet.answer = http(b"", status="500 Oh")
            assert process.stderr.readline().endswith("500; keeping the last targets\n")
            kubelet.answer = tell_pods(pod("shop", "web"))
            assert len(json.loads(process.stdout.readline())) == 1
        finally:
            process.kill()

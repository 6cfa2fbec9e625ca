"""`livery doctor` without a cluster, and with one that does not answer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.injector.conftest import Livery

_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "a", "user": {"token": "x"}}],
}


def _doctor(kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    # The library reads the variable when it is imported, so once per process.
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    environment.pop("KUBERNETES_SERVICE_HOST", None)
    command = [sys.executable, "-m", "injector", "doctor"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_help_says_what_is_looked_at_and_what_the_exit_codes_mean(livery: Livery) -> None:
    ran = livery("doctor", "--help")

    assert ran.code == 0
    assert "livery doctor --namespace" in ran.out
    assert "exit codes: 0" in ran.out
    assert "livery-system" in ran.out


@pytest.mark.parametrize("arguments", [["--nonsense"], ["extra"], ["--namespace"]])
def test_a_wrong_call_exits_2(livery: Livery, arguments: list[str]) -> None:
    assert livery("doctor", *arguments).code == 2


@pytest.mark.parametrize("content", [None, "", "[]", "clusters: 5\n"])
def test_without_a_cluster_it_says_so_in_one_line_and_exits_2(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "config").write_text(content)
    ran = _doctor(tmp_path / "config")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("livery: no cluster: ")
    assert ran.stderr.count("\n") == 1


def test_an_api_server_that_does_not_answer_is_said_in_one_line_with_exit_2(
    tmp_path: Path,
) -> None:
    (tmp_path / "config").write_text(yaml.safe_dump(_KUBECONFIG))
    ran = _doctor(tmp_path / "config")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("livery: the API server cannot be reached: GET /version: ")
    assert ran.stderr.count("\n") == 1

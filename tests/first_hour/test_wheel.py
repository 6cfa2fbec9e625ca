"""Without a clone: the commands of the wheel, installed into an empty environment."""

import json
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sidecar import VERSION
from tests.first_hour.wheel import Installed, install_wheel
from tests.injector.commands.test_inject import POD

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("command", ["livery", "livery-metrics"])
def test_a_command_says_its_version(installed: Installed, command: str) -> None:
    assert installed.run(command, "--version").stdout == f"livery {VERSION}\n"


def test_the_demo_runs_from_the_wheel_and_leaves_nothing(
    installed: Installed, tmp_path: Path
) -> None:
    ran = installed.run("livery", "demo", "--once", environment={"TMPDIR": str(tmp_path)})

    assert ran.returncode == 0, ran.stderr
    assert "shop: team frontend → backend, on its series after" in ran.stdout
    assert "shop/cart-0 fails on purpose" in ran.stdout
    assert list(tmp_path.iterdir()) == []
    assert list(installed.folder.iterdir()) == []


def test_the_demo_needs_no_home_and_no_clone(installed: Installed, tmp_path: Path) -> None:
    home = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", "TMPDIR": str(tmp_path)}

    assert installed.run("livery", "demo", "--once", environment=home).returncode == 0


def test_the_demo_takes_other_ports_where_its_own_are_taken(
    installed: Installed, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for port in (8080, 16090):
            with suppress(OSError):  # the port is in use already, which is just as good
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        ran = installed.run("livery", "demo", "--once", environment={"TMPDIR": str(tmp_path)})

    assert ran.returncode == 0, ran.stderr
    assert "status page http://localhost:" in ran.stdout
    assert "status page http://localhost:8080" not in ran.stdout
    assert "shop on port 16090" not in ran.stdout


def test_a_manifest_is_injected_and_explained(installed: Installed) -> None:
    assert "name: livery-proxy" in installed.run("livery", "inject", "-f", "-", stdin=POD).stdout
    ran = installed.run("livery", "explain", "pod", "-f", "-", "-o", "json", stdin=POD)
    assert json.loads(ran.stdout)["pods"][0]["wouldBeInjected"] is True


@pytest.mark.parametrize("arguments", [("--help",), ("--role", "pod", "--help"), ("check", "-h")])
def test_the_proxy_explains_itself(installed: Installed, arguments: tuple[str, ...]) -> None:
    ran = installed.run("livery-proxy", *arguments)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "livery-proxy" in ran.stdout


def test_a_cluster_that_does_not_answer_is_one_sentence(
    installed: Installed, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
        'clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]\n'
        "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "users: [{name: a, user: {token: x}}]\n"
    )
    for command in (("doctor",), ("explain", "namespace", "shop")):
        ran = installed.run("livery", *command, environment={"KUBECONFIG": str(kubeconfig)})
        assert (ran.returncode, ran.stdout) == (2, "")
        assert len(ran.stderr.splitlines()) == 1
        assert ran.stderr.endswith("connection refused (127.0.0.1:1)\n")


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1", "POSIX"])
def test_a_terminal_of_another_encoding_breaks_nothing(
    installed: Installed, locale: str, tmp_path: Path
) -> None:
    name = "متجر-商店.yaml"
    (tmp_path / name).write_text(POD.replace("name: web\n", "name: web # متجر 商店\n", 1))
    environment = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    ran = installed.run("livery", "inject", "-f", str(tmp_path), environment=environment)

    assert ran.returncode == 0, ran.stderr
    assert "# متجر 商店" in ran.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("explain", "--help"), ("explain", "pod", "--help"), ("demo", "--help")],
)
def test_help_fits_a_terminal_of_60_columns(
    installed: Installed, arguments: tuple[str, ...]
) -> None:
    ran = installed.run("livery", *arguments, environment={"COLUMNS": "60"})
    own = ran.stdout.partition("\nexamples:\n")[0]

    assert ran.returncode == 0
    assert "options:" in own
    assert [line for line in own.splitlines() if len(line) > 80] == []


def test_nothing_is_written_beside_the_caller(installed: Installed) -> None:
    assert os.listdir(installed.folder) == []

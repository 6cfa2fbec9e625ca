"""Every command in README and docs is run, in a folder with the repository's examples."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_links import PAGES, ROOT

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`((?:livery|livery-proxy) [^`]+)`")
# Commands that need a cluster or a kubelet: tests/cluster and tests/e2e run them.
_ASKS = re.compile(
    r"livery (?:doctor|targets|inject --from-cluster|explain pod web-0)|"
    r"livery-proxy --role aggregate"
)
_STAYS = re.compile(r"livery serve|livery-proxy --role (?!aggregate)|livery demo$")
# The part that needs kubectl; everything before it is run.
_CLUSTER = re.compile(r"\s*\\?\|\s*kubectl .*")


def _commands() -> list[str]:
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text()
        for block in _BLOCK.findall(text):
            lines = [re.sub(r"\s+#.*", "", line) for line in block.splitlines()]
            found.update(dict.fromkeys(line for line in lines if line.strip()))
        if page.name in ("README.md", "CONTRIBUTING.md"):
            found.update(dict.fromkeys(_SPAN.findall(text)))
    commands = [_CLUSTER.sub("", command).replace("\\|", "|") for command in found]
    return sorted(set(commands))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory such as a user's clone."""
    made = tmp_path_factory.mktemp("clone")
    (made / "examples").symlink_to(ROOT / "examples")
    _run(made, "livery certs create")
    return made


def _environment() -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "NO_COLOR": "1"}


def _run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


_ALL = _commands()


@pytest.mark.parametrize(
    "command",
    [
        item
        for item in _ALL
        if not (_STAYS.search(item) or _ASKS.match(item) or item.startswith("make "))
    ],
)
def test_a_command_does_what_it_is_for(folder: Path, command: str) -> None:
    ran = _run(folder, command.removeprefix(".venv/bin/"))

    # `--diff` exits with 1 if there is a difference, as `diff` does.
    assert ran.returncode in ((0, 1) if "--diff" in command else (0,)), ran.stderr
    assert ran.stdout + ran.stderr


@pytest.mark.parametrize("command", [item for item in _ALL if item.startswith("make ")])
def test_make_knows_the_target(command: str) -> None:
    # Not run: the targets run the tests themselves, or commands that other tests run.
    ran = subprocess.run(
        ["make", "--dry-run", *command.split()[1:]],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "command", [item for item in _ALL if _STAYS.search(item) and "demo" not in item.split()]
)
def test_a_service_starts_and_ends_when_told(folder: Path, command: str) -> None:
    # On free ports: the default ones may be in use.
    ports = " --admission-port 0 --control-port 0 --metrics-port 0 --status-port 0"
    if "livery-proxy" in command:
        ports = " --port 0 --admin-port 0"
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}{ports}"],
        cwd=folder, env=_environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = next(line for line in process.stderr if '"serving"' in line or '"listening"' in line)
        assert said
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(30) == 0

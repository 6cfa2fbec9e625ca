"""The command line: help, the version, usage errors, and output that is not read to its end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import VERSION
from tests.injector.conftest import Livery

_COMMANDS = (
    "demo",
    "inject",
    "uninject",
    "explain",
    "explain pod",
    "relabel",
    "certs",
    "targets",
    "serve",
)


def test_help_lists_every_command_with_examples(livery: Livery) -> None:
    ran = livery("--help")

    assert ran.code == 0
    assert "examples:\n  livery " in ran.out
    for command in _COMMANDS:
        assert re.search(rf"^    {command.split()[0]} ", ran.out, re.MULTILINE), command


@pytest.mark.parametrize("command", _COMMANDS)
def test_each_commands_help_shows_examples_of_itself(livery: Livery, command: str) -> None:
    ran = livery(*command.split(), "--help")

    assert ran.code == 0
    assert "examples:\n  " in ran.out
    assert f"livery {command}" in ran.out.split("examples:")[1]


def test_the_version_is_told(livery: Livery) -> None:
    assert livery("--version").out == f"livery {VERSION}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "usage: livery"),
        (["nonsense"], "livery: argument COMMAND: invalid choice: 'nonsense'"),
        (["inject", "--nonsense"], "livery: unrecognized arguments: --nonsense"),
        (["--nonsense"], "livery: the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_call_exits_2(livery: Livery, arguments: list[str], says: str) -> None:
    ran = livery(*arguments)

    assert ran.code == 2
    assert says in ran.err


def test_livery_alone_shows_its_help(livery: Livery) -> None:
    ran = livery()

    assert (ran.code, ran.out) == (2, "")
    assert "examples:\n  livery " in ran.err


def test_a_command_that_is_misspelled_is_guessed(livery: Livery) -> None:
    ran = livery("expalin", "pod")

    assert ran.code == 2
    assert re.fullmatch(
        r"livery: argument COMMAND: invalid choice: 'expalin' \(choose from [a-z', ]+\); "
        r"did you mean explain\? See livery --help\n",
        ran.err,
    )


def test_a_file_that_cannot_be_read_is_named_once(livery: Livery) -> None:
    ran = livery("inject", "-f", "/gone.yaml")

    assert ran.err == "livery: /gone.yaml: No such file or directory\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    pods = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}]}\n---\n" * 5000
    (tmp_path / "pods.yaml").write_text(pods)
    with subprocess.Popen(
        [sys.executable, "-m", "injector", "inject", "-f", str(tmp_path / "pods.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()

        assert process.wait(timeout=60) == 0


def test_a_full_disk_is_one_sentence_and_not_success() -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "injector", "inject", "-f", "examples/demo/shop.yaml"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "livery: no space left on device"

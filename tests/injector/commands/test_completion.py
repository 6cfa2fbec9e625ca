import shutil
import subprocess

import pytest

from tests.injector.conftest import Livery


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_script_names_every_command(livery: Livery, shell: str) -> None:
    ran = livery("completion", shell)

    assert ran.code == 0
    for command in ("demo", "inject", "uninject", "explain", "doctor", "serve", "completion"):
        assert command in ran.out


def test_bash_completes_a_kind_and_an_option(livery: Livery) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = livery("completion", "bash").out
    ask = """
COMP_WORDS=(livery explain na); COMP_CWORD=2; COMP_LINE="livery explain na"; COMP_POINT=17
_shtab_livery; echo "${COMPREPLY[@]}"
"""
    ran = subprocess.run(
        [bash, "-c", script + ask], capture_output=True, text=True, timeout=20, check=True
    )

    assert ran.stdout.split() == ["namespace"]


def test_an_unknown_shell_is_a_wrong_call(livery: Livery) -> None:
    assert livery("completion", "cmd").code == 2

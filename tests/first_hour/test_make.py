"""README's first command on machines that do not meet its requirements."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.first_hour.blocks import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile and nothing built."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return folder


@pytest.mark.parametrize("target", ["demo", "test"])
def test_an_old_python_is_one_sentence_that_names_the_way_out(clone: Path, target: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    old = clone / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")  # as `sys.exit(sys.version_info < (3, 11))` ends there
    old.chmod(0o755)

    ran = subprocess.run(
        [make, target, f"PYTHON={old}"], cwd=clone, capture_output=True, text=True, check=False
    )

    assert ran.returncode != 0
    assert "Python 3.11 or newer is needed; name one: make PYTHON=python3.13 ..." in ran.stdout
    assert not (clone / ".venv").exists()

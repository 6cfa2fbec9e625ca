"""The wheel in an otherwise empty environment, as pipx creates one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.first_hour.blocks import ROOT

_HASH = re.compile(r" \\\n( +--hash=\S+( \\)?\n)+")


class Installed(NamedTuple):
    """The installed commands, and a folder without any file of a clone."""

    programs: Path
    folder: Path

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        variables = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": "", **(environment or {})}
        return subprocess.run(
            [self.programs / arguments[0], *arguments[1:]],
            cwd=self.folder, env=variables, input=stdin, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip


def install_wheel(folder: Path) -> Installed:
    """Build the wheel and install it, with the locked versions of its dependencies."""
    copy = folder / "source"  # a build writes into its source
    ignored = shutil.ignore_patterns(".venv*", ".git", "build", "dist", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    wheels = folder / "wheels"
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", wheels, copy)  # fmt: skip
    (wheel,) = wheels.glob("livery_metrics-*.whl")
    locked = folder / "constraints.txt"
    locked.write_text(_HASH.sub("\n", (ROOT / "requirements" / "injector.txt").read_text()))
    _run(sys.executable, "-m", "venv", folder / "environment")
    programs = folder / "environment" / "bin"
    _run(programs / "pip", "install", "--quiet", "--disable-pip-version-check",
         "--constraint", locked, wheel)  # fmt: skip
    empty = folder / "empty"
    empty.mkdir()
    return Installed(programs, empty)


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, timeout=600)

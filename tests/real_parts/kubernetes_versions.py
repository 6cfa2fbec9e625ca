"""Modules that build API server versions other than that of `make test`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.real_parts.go import RealPartMissing, cache_directory, find_go

LATEST = "1.36.3"
"""The version of `kubernetes_module`, whose dependencies are locked here."""
CHOICE = "LIVERY_KUBERNETES_VERSION"
"""Environment variable with another version; `make compat` sets it."""
PACKAGE = "k8s.io/kubernetes/cmd/kube-apiserver"
_STAGED = re.compile(r"^\s*(k8s\.io/[a-z-]+) v0\.0\.0$", re.MULTILINE)


def chosen_version() -> tuple[int, int, int]:
    """Returns the version to build and to test."""
    major, minor, patch = os.environ.get(CHOICE, LATEST).split(".")
    return int(major), int(minor), int(patch)


def module_of(version: tuple[int, int, int]) -> Path:
    """Returns the folder of the module that builds a version; writes it once, into the cache."""
    text = ".".join(map(str, version))
    if text == LATEST:
        return Path(__file__).parent / "kubernetes_module"
    folder = cache_directory() / f"kubernetes-module-{text}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        unfinished.mkdir(parents=True)
        try:
            _write_module(unfinished, version)
            unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def tags_of(version: tuple[int, int, int]) -> str:
    """Returns the build tags of a version; old ones still contain cloud providers."""
    return "providerless" if version < (1, 31) else ""


def _write_module(folder: Path, version: tuple[int, int, int]) -> None:
    text = ".".join(map(str, version))
    described = json.loads(_go(folder.parent, "mod", "download", "-json", _at(text)))
    staged = sorted(set(_STAGED.findall(Path(described["GoMod"]).read_text())))
    own = f"v0.{version[1]}.{version[2]}"
    replacements = "".join(f"replace {name} => {name} {own}\n" for name in staged)
    (folder / "go.mod").write_text(
        f"module livery.dev/tests/kubernetes\n\nrequire k8s.io/kubernetes v{text}\n\n{replacements}"
    )
    # Writes the whole list of dependencies and their checksums.
    _go(folder, "list", "-mod=mod", f"-tags={tags_of(version)}", "-deps", PACKAGE)


def _at(version: str) -> str:
    return f"k8s.io/kubernetes@v{version}"


def _go(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GOWORK": "off", "CGO_ENABLED": "0"}
    ran = subprocess.run(
        [find_go(), *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if ran.returncode:
        raise RealPartMissing("kube-apiserver", f"`go {' '.join(arguments)}`: {ran.stderr[-2000:]}")
    return ran.stdout

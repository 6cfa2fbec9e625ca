"""Installations use the lock files in requirements/, which match pyproject.toml."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
_PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ \\]+)(?: ; .+?)? \\$(?:\n +--hash=sha256:[0-9a-f]{64}.*)+",
    re.MULTILINE,
)


def _pins(lock: Path) -> dict[str, str]:
    return {found[1]: found[2] for found in _PIN.finditer(lock.read_text())}


def _group(name: str) -> list[Requirement]:
    found: list[Requirement] = []
    for item in PROJECT["dependency-groups"][name]:
        found += _group(item["include-group"]) if isinstance(item, dict) else [Requirement(item)]
    return found


def _wanted(lock: str) -> list[Requirement]:
    own = [Requirement(item) for item in PROJECT["project"]["dependencies"]]
    if lock == "injector":
        return own
    return _group(lock) + (own if lock == "dev" else [])


def test_every_group_has_its_lock() -> None:
    assert [lock.stem for lock in LOCKS] == sorted([*PROJECT["dependency-groups"], "injector"])


def test_the_proxy_needs_a_part_of_what_is_installed_with_the_package() -> None:
    assert set(_group("sidecar")) < set(_wanted("injector"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_what_its_group_wants(lock: Path) -> None:
    pins = _pins(lock)

    wrong = [
        str(item)
        for item in _wanted(lock.stem)
        if not item.specifier.contains(pins.get(item.name.lower(), "0"))
    ]

    assert wrong == [], "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_line_of_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.startswith((" ", "#"))]

    assert len(lines) == len(_PIN.findall(lock.read_text())) > 0
    assert "://" not in lock.read_text()


def test_images_get_the_versions_that_the_tests_run() -> None:
    tested = _pins(ROOT / "requirements/dev.txt")

    for image in ("sidecar", "injector"):
        assert _pins(ROOT / f"requirements/{image}.txt").items() <= tested.items()


def test_the_build_backend_is_locked() -> None:
    locked = _pins(ROOT / "requirements/build.txt")

    assert {Requirement(item).name for item in PROJECT["build-system"]["requires"]} <= set(locked)


def test_what_runs_here_is_what_is_locked() -> None:
    locked = _pins(ROOT / "requirements/dev.txt")

    assert {name: version(name) for name in ("httptools", "pyyaml", "pytest")}.items() <= (
        locked.items()
    )

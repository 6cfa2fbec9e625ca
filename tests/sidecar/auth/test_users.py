import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.auth.users import User, UsersFile, hash_password, read_users, verify_password
from sidecar.errors import SettingsError

pytestmark = pytest.mark.anyio

_HASH = hash_password("secret")


def _write(path: Path, *users: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"users": list(users)}))
    return path


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_password_is_known_by_its_hash_alone() -> None:
    assert verify_password("secret", _HASH)
    assert not verify_password("Secret", _HASH)
    assert hash_password("secret") != _HASH


async def test_a_user_is_found_by_name_and_password(tmp_path: Path) -> None:
    user = {"name": "grafana", "passwordHash": _HASH, "tenants": ["shop"]}
    users = UsersFile(_write(tmp_path / "users", user))

    for _ in range(2):  # the second lookup skips the slow hash
        found = await users.find(_basic("grafana", "secret"))
        assert found == User("grafana", _HASH, frozenset(["shop"]))
    assert await users.find(_basic("grafana", "wrong")) is None
    assert await users.find(_basic("nobody", "secret")) is None


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!", "Bearer x", "Basic " + base64.b64encode(b"\xff").decode()]
)
async def test_what_is_no_basic_header_is_nobody_s(header: str, tmp_path: Path) -> None:
    users = UsersFile(_write(tmp_path / "users"))

    assert await users.find(header) is None


async def test_a_file_that_changes_is_read_anew_and_a_bad_one_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "users"
    users = UsersFile(_write(path, {"name": "a", "passwordHash": _HASH, "tenants": []}))
    assert await users.find(_basic("a", "secret"))

    _write(path, {"name": "b", "passwordHash": _HASH, "tenants": []})
    os.utime(path, ns=(1, 1))
    assert await users.find(_basic("a", "secret")) is None
    assert await users.find(_basic("b", "secret"))
    path.write_text("[")
    os.utime(path, ns=(2, 2))
    assert await users.find(_basic("b", "secret"))


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"name": "", "passwordHash": _HASH}, "'' is not a valid name"),
        ({"name": "a:b", "passwordHash": _HASH}, "without a colon"),
        ({"name": "a", "passwordHash": "secret"}, "a hash from livery-proxy hash-password"),
        ({"name": "a", "passwordHash": "scrypt$9999999$8$1$AA==$AA=="}, "hash-password is needed"),
        ({"name": "a", "passwordHash": _HASH, "tenants": "x"}, "a list of strings is needed"),
    ],
)
def test_a_malformed_user_is_named(user: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_users(_write(tmp_path / "users", user))


def test_a_name_stands_once(tmp_path: Path) -> None:
    user = {"name": "a", "passwordHash": _HASH}

    with pytest.raises(SettingsError, match="not a valid name: a unique one"):
        read_users(_write(tmp_path / "users", user, user))


async def test_a_file_that_was_gone_for_a_while_is_no_fault_when_it_is_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "users"
    path.write_text(json.dumps({"users": [{"name": "a", "passwordHash": _HASH}]}))
    users = UsersFile(path)
    path.rename(tmp_path / "away")
    assert await users.find(_basic("a", "secret")) is not None
    assert "the last good one stays" in users.fault

    (tmp_path / "away").rename(path)
    assert await users.find(_basic("a", "secret")) is not None
    assert users.fault == ""


async def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.auth.users.RETRY_SECONDS", 0)
    path = _write(tmp_path / "users", {"name": "a", "passwordHash": _HASH})
    users = UsersFile(path)
    _write(path, {"name": "b", "passwordHash": _HASH})
    monkeypatch.setattr("sidecar.auth.users.MAX_BYTES", 1)
    assert await users.find(_basic("b", "secret")) is None

    monkeypatch.undo()
    assert await users.find(_basic("b", "secret")) is not None


def test_a_file_without_a_list_of_users_is_refused(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("{}")
    with pytest.raises(SettingsError, match="users: missing; a list of users"):
        read_users(tmp_path / "users")


@pytest.mark.parametrize("numbers", ["2$1$4", "16384$16$4", "2$16$1"])
def test_each_hash_that_is_taken_can_be_computed(numbers: str) -> None:
    salt, digest = base64.b64encode(bytes(16)).decode(), base64.b64encode(bytes(32)).decode()

    assert not verify_password("secret", f"scrypt${numbers}${salt}${digest}")

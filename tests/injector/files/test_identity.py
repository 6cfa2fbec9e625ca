"""Identity from a folder of tokens."""

import asyncio
import os
from pathlib import Path

import pytest

from injector.control.identity import Caller
from injector.errors import IdentityError
from injector.files import identity
from injector.files.identity import FolderAuthenticator


@pytest.fixture(autouse=True)
def looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(identity, "REFRESH_UNKNOWN_SECONDS", 0.0)


def _write(folder: Path, pod: str, token: str) -> Path:
    path = folder / pod
    path.parent.mkdir(exist_ok=True)
    path.write_text(token)
    return path


def _authenticate(authenticator: FolderAuthenticator, token: str) -> Caller:
    return asyncio.run(authenticator.authenticate(token))


def test_a_token_names_its_pod_and_no_other(tmp_path: Path) -> None:
    _write(tmp_path, "shop/web-0", "secret-1\n")
    authenticator = FolderAuthenticator(tmp_path)
    caller = _authenticate(authenticator, "secret-1")
    assert (caller.namespace, caller.pod) == ("shop", "web-0")
    for token in ("", "secret", "secret-1\n", "secret-12"):
        with pytest.raises(IdentityError):
            _authenticate(authenticator, token)


def test_a_token_that_was_just_written_is_known(tmp_path: Path) -> None:
    authenticator = FolderAuthenticator(tmp_path)
    with pytest.raises(IdentityError) as caught:
        _authenticate(authenticator, "secret-1")
    assert caught.value.status == 401
    _write(tmp_path, "shop/web-0", "secret-1")

    assert _authenticate(authenticator, "secret-1").service_account == "shop/default"


def test_a_token_that_was_removed_counts_no_more(tmp_path: Path) -> None:
    path = _write(tmp_path, "shop/web-0", "secret-1")
    authenticator = FolderAuthenticator(tmp_path)
    _authenticate(authenticator, "secret-1")
    path.unlink()
    with pytest.raises(IdentityError):
        _authenticate(authenticator, "secret-1")


def test_a_stream_ends_when_its_token_becomes_another_pods(tmp_path: Path) -> None:
    path = _write(tmp_path, "shop/web-0", "secret-1")
    authenticator = FolderAuthenticator(tmp_path)
    caller = _authenticate(authenticator, "secret-1")
    assert asyncio.run(authenticator.is_still_valid("secret-1", caller))
    path.rename(tmp_path / "shop" / "web-1")

    assert not asyncio.run(authenticator.is_still_valid("secret-1", caller))


def test_a_token_that_is_replaced_in_its_file_is_known_by_the_new_one_only(tmp_path: Path) -> None:
    path = _write(tmp_path, "shop/web-0", "secret-1")
    authenticator = FolderAuthenticator(tmp_path)
    _authenticate(authenticator, "secret-1")
    path.write_text("secret-2")
    os.utime(path, ns=(1, 1))

    assert _authenticate(authenticator, "secret-2").pod == "web-0"
    with pytest.raises(IdentityError):
        _authenticate(authenticator, "secret-1")


def test_a_token_that_cannot_be_read_locks_nobody_else_out(tmp_path: Path) -> None:
    for name in ("web-0", "web-1", "web-2"):
        _write(tmp_path, f"shop/{name}", f"secret of {name}")
    read = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path.name == "web-1":
            raise PermissionError
        return read(path)

    authenticator = FolderAuthenticator(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "read_bytes", broken)
        assert _authenticate(authenticator, "secret of web-2").pod == "web-2"
    assert _authenticate(authenticator, "secret of web-1").pod == "web-1"


def test_an_empty_file_and_what_is_no_file_are_nobodys_token(tmp_path: Path) -> None:
    _write(tmp_path, "shop/web-0", " \n")
    (tmp_path / "shop" / "folder").mkdir()
    (tmp_path / "stray").write_text("stray")
    authenticator = FolderAuthenticator(tmp_path)

    for token in ("", " ", "stray"):
        with pytest.raises(IdentityError):
            _authenticate(authenticator, token)


def test_a_token_that_two_pods_share_identifies_neither(tmp_path: Path) -> None:
    for pod in ("shop/web-0", "bank/web-0"):
        _write(tmp_path, pod, "secret-1")
    with pytest.raises(IdentityError):
        _authenticate(FolderAuthenticator(tmp_path), "secret-1")


@pytest.mark.parametrize("token", ["\ud800", "?", "\u00ff"])
def test_bytes_that_are_not_text_match_no_token(tmp_path: Path, token: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "web-0").write_bytes(b"\xff")
    with pytest.raises(IdentityError):
        _authenticate(FolderAuthenticator(tmp_path), token)

import io

import pytest

from sidecar.auth.users import verify_password
from sidecar.commands.hash_password import main


def test_a_hash_is_that_of_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\nmore\n"))

    assert main([]) == 0
    assert verify_password("secret", capsys.readouterr().out.strip())


def test_what_ends_the_line_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\r\n", newline=""))

    assert main([]) == 0
    assert verify_password("secret", capsys.readouterr().out.strip())


def test_a_password_is_utf_8(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\udcff\n"))

    assert main([]) == 2
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["", "\n", "x" * 2000])
def test_a_password_is_needed(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    assert main([]) == 2
    assert "1 to 1024 characters" in capsys.readouterr().err

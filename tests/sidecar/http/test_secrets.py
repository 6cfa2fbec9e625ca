from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import UpstreamError
from sidecar.http.secrets import MAX_SECRET_BYTES, read_secret, read_token

_WHITE = st.text(" \t\r\n", max_size=3)
_VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_WHITE, token=_VISIBLE, after=_WHITE)
def test_a_token_is_read_without_the_white_space_around_it(
    path: Path, before: str, token: str, after: str
) -> None:
    path.write_bytes(f"{before}{token}{after}".encode())

    assert read_token(path, "the token") == token


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two words", b"two\nlines", b"a\tb", b"a\0b", b"a\x7f"]
)
def test_what_a_header_may_not_hold_is_not_a_token(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(UpstreamError) as caught:
        read_token(path, "the kubelet's token")
    assert str(caught.value) == f"the kubelet's token: {path} does not contain a valid token"


def test_a_secret_may_hold_spaces_and_lines(path: Path) -> None:
    path.write_text("\none two\nthree\n")

    assert read_secret(path, "x") == "one two\nthree"


def test_a_secret_is_bounded_to_the_byte(path: Path) -> None:
    path.write_bytes(b"x" * MAX_SECRET_BYTES)
    assert len(read_secret(path, "x")) == MAX_SECRET_BYTES

    path.write_bytes(b"x" * MAX_SECRET_BYTES + b"\n")
    with pytest.raises(UpstreamError, match="is over 64 KiB"):
        read_secret(path, "x")


def test_a_password_is_text_of_any_language_and_a_token_is_not(path: Path) -> None:
    path.write_text("pass-wörd\n")

    assert read_secret(path, "password_file") == "pass-wörd"
    with pytest.raises(UpstreamError, match="does not contain a valid token") as caught:
        read_token(path, "the token")
    assert "pass-w" not in str(caught.value)


def test_a_secret_that_is_no_text_is_refused_without_being_shown(path: Path) -> None:
    path.write_bytes(b"pass-w\xf6rd")

    with pytest.raises(UpstreamError, match=f"password_file: cannot read {path}: ") as caught:
        read_secret(path, "password_file")
    assert "pass-w" not in str(caught.value)


@pytest.mark.parametrize(("name", "reason"), [(".", "Is a directory"), ("none", "No such file")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name

    with pytest.raises(UpstreamError, match=f"the token: cannot read {path}: .*{reason}"):
        read_secret(path, "the token")

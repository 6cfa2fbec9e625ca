import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.escapes import escape, unescape


@given(st.text())
def test_escaping_can_be_undone(value: str) -> None:
    assert unescape(escape(value.encode())) == value.encode()


@pytest.mark.parametrize(
    ("written", "meant"),
    [(rb"\n", b"\n"), (rb"\\n", rb"\n"), (rb"\"", b'"'), (rb"\z", rb"\z"), (rb"\\\\", rb"\\")],
)
def test_only_three_escapes_are_undone(written: bytes, meant: bytes) -> None:
    assert unescape(written) == meant

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.promql.literals import duration_seconds, number_value, quote, unquote


@given(st.text())
def test_what_is_quoted_is_read_as_it_was(text: str) -> None:
    assert unquote(quote(text)) == text


@given(st.binary())
def test_bytes_that_are_no_text_are_written_as_they_came(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")

    assert unquote(quote(text)) == text
    assert quote(text).isprintable() or "\u2028" in text or not text.isascii()


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("`a\\b`", "a\\b"), ("'\\''", "'"), ('"\\x41\\101\\u00e9\\U0001F600"', "AAé😀"),
        ('"\\xc3\\xa9"', "é"), ('"\\t\\n"', "\t\n"),
    ],
)  # fmt: skip
def test_escapes_are_those_of_go(literal: str, value: str) -> None:
    assert unquote(literal) == value


@pytest.mark.parametrize(
    "literal", ['"\\z"', '"\\\'"', "'\\\"'", '"\\400"', '"\\ud800"', '"\\U00110000"', '"\\x4"']
)
def test_what_go_does_not_know_is_refused(literal: str) -> None:
    with pytest.raises(ValueError, match="contains an invalid escape"):
        unquote(literal)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("0x1F", 31), ("017", 15), ("08", 8), ("1_000", 1000), (".5", 0.5), ("1e3", 1000)],
)
def test_numbers_are_read_as_go_reads_them(text: str, value: float) -> None:
    assert number_value(text) == value


def test_durations_are_sums_and_bounded() -> None:
    assert duration_seconds("1h30m5s500ms") == 5405.5
    assert duration_seconds("292y") == 292 * 365 * 86_400
    with pytest.raises(ValueError, match="duration out of range"):
        duration_seconds("293y")
    with pytest.raises(ValueError, match="duration out of range"):
        duration_seconds("9" * 5000 + "y")

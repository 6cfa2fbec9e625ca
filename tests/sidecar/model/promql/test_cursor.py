import pytest

from sidecar.errors import QueryError
from sidecar.model.promql.cursor import MAX_DEPTH, Cursor


def test_a_cursor_passes_tokens_one_by_one() -> None:
    cursor = Cursor("a (5m, -3)")

    assert cursor.kind() == "word"
    assert cursor.advance() == "("
    cursor.expect("(")
    assert cursor.number() == "5m"
    cursor.expect(",")
    assert cursor.signed_number() == "-3"
    assert cursor.advance() == "eof"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("b", 'unexpected identifier "b" in here, expected a number'),
        ("300y", "duration out of range"),
        ("'", "unterminated quoted string, or a string with invalid UTF-8"),
    ],
)
def test_what_is_not_there_is_said_with_its_place(text: str, reason: str) -> None:
    cursor = Cursor(f"a + {text}")
    cursor.at = 2

    with pytest.raises(QueryError) as caught:
        cursor.number("here", "a number")

    assert (caught.value.reason, caught.value.position) == (reason, 4)


def test_a_string_with_a_bad_escape_is_refused_in_its_place() -> None:
    with pytest.raises(QueryError, match="contains an invalid escape"):
        Cursor('"\\z"').string()


def test_expressions_are_bounded_in_depth() -> None:
    cursor = Cursor("a")
    for _ in range(MAX_DEPTH):
        cursor.enter()

    with pytest.raises(QueryError, match="nested deeper than 200"):
        cursor.enter()

import pytest

from sidecar.errors import QueryError
from sidecar.model.promql.ast import Binary, Call, Number, Paren, Unary
from sidecar.model.promql.cursor import Cursor
from sidecar.model.promql.durations import literal_seconds, read_offset, read_range


def test_a_range_may_be_calculated() -> None:
    found = read_range(Cursor("(5m + step()) * 2"), "range")

    assert isinstance(found, Binary)
    assert isinstance(found.first, Paren)
    assert literal_seconds(found) is None


@pytest.mark.parametrize("text", ["0", "-5m", "0s", "- 1", "5m / 0", "5 % 0", "x", "max_of(1)", ""])
def test_a_range_is_more_than_nothing(text: str) -> None:
    with pytest.raises(QueryError):
        read_range(Cursor(text), "range")


@pytest.mark.parametrize(
    ("text", "rest"),
    [("5m + b", "+"), ("-5m ^ 2", "^"), ("step() * 2", "*"), ("-(1m) + b", "+"),
     ("(1m) + 2", "eof"), ("--1 + 2", "eof"), ("max_of(1, 2) - 1", "-")],
)  # fmt: skip
def test_an_offset_ends_where_prometheus_ends_it(text: str, rest: str) -> None:
    cursor = Cursor(text)
    read_offset(cursor)

    assert cursor.kind() == rest


def test_signs_and_calls_are_kept() -> None:
    assert read_offset(Cursor("-5m")) == Unary("-", Number("5m"))
    assert read_offset(Cursor("min_of(1, 2)")) == Call("min_of", (Number("1"), Number("2")))
    assert literal_seconds(Unary("-", Unary("-", Number("1_0")))) == 10


def test_a_duration_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(QueryError, match="duration out of range"):
        read_range(Cursor("1e30"), "range")

import pytest

from sidecar.errors import QueryError
from sidecar.model.promql.ast import PLAIN, Matching
from sidecar.model.promql.cursor import Cursor
from sidecar.model.promql.matching import read_labels, read_matching


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("a", PLAIN),
        ("bool a", Matching(is_bool=True)),
        ("on (x, by,) a", Matching(match="on", labels=("x", "by"))),
        ("ignoring() group_left a", Matching(match="ignoring", group="group_left")),
        ("on(x) group_right(y) a", Matching(False, "on", ("x",), "group_right", ("y",))),
        ("fill(-1) a", Matching(fill_left="-1", fill_right="-1")),
        ("fill_right(1) fill_left(+2) a", Matching(fill_left="2", fill_right="1")),
        ("fill_left(0) a", Matching(fill_left="0")),
    ],
)
def test_what_stands_behind_an_operator_is_read(text: str, matching: Matching) -> None:
    cursor = Cursor(text)

    assert read_matching(cursor) == matching
    assert cursor.kind() == "word"


@pytest.mark.parametrize("text", ["()", "(a)", '(a, "b c",)', "(sum, on)"])
def test_a_list_of_labels_is_read(text: str) -> None:
    cursor = Cursor(text)
    read_labels(cursor)

    assert cursor.kind() == "eof"


@pytest.mark.parametrize(
    "text", ["a", "(a b)", "(,)", "(without)", "(inf)", "('')", '("\\xff")', "(1)"]
)
def test_what_is_no_list_of_labels_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        read_labels(Cursor(text))

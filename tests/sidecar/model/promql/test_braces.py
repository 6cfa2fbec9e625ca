import pytest

from sidecar.errors import QueryError, RuleError
from sidecar.model.promql.braces import begins_metric, is_empty, read_selector
from sidecar.model.promql.cursor import Cursor
from sidecar.model.promql.matchers import Condition


def _read(text: str) -> tuple[Condition, ...]:
    return read_selector(Cursor(text)).conditions


def test_the_metric_s_name_stands_first_wherever_it_was_written() -> None:
    expected = (Condition("__name__", "=", "up"), Condition("job", "=", "a"))

    assert _read("up{job='a'}") == expected
    assert _read('{job="a","up"}') == expected
    assert _read('{job="a",__name__="up",}') == expected
    assert read_selector(Cursor("up")).names_outside
    assert not read_selector(Cursor('{"up"}')).names_outside


def test_between_braces_keywords_are_names() -> None:
    found = _read('sum{by="1",inf!="2","a b"=~"3",and!~"4"}')

    assert [item.name for item in found] == ["__name__", "by", "inf", "a b", "and"]


@pytest.mark.parametrize(
    "text", ["{", "{a}", "{a=}", "{a='b' c='d'}", "{a:b='c'}", "{1='a'}", ")", "{,}"]
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        _read(text)


@pytest.mark.parametrize(
    ("text", "empty"),
    [("{}", True), ("{a=''}", True), ("{a=~'.*'}", True), ("{a!='b'}", True), ("{a!=''}", False),
     ("{a=~'.+'}", False), ("{a!~'.*'}", False), ("{a='b'}", False), ("{a=~'x|'}", True)],
)  # fmt: skip
def test_a_selector_is_empty_if_a_series_without_labels_fulfils_it(text: str, empty: bool) -> None:
    assert is_empty(_read(text)) is empty


def test_a_pattern_that_is_not_re2_cannot_be_judged() -> None:
    with pytest.raises(RuleError):
        is_empty(_read("{a=~'('}"))


def test_most_keywords_can_be_metrics() -> None:
    assert all(map(begins_metric, ["word", "colons", "sum", "by", "offset", "and", "start"]))
    assert not any(map(begins_metric, ["on", "bool", "atan2", "number", "(", "eof"]))

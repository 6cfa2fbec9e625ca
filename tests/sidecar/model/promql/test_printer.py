import pytest

from sidecar.model.promql.matchers import Condition
from sidecar.model.promql.parser import parse_query
from sidecar.model.promql.printer import print_conditions, print_query


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("SUM BY(a,)(b)", "sum by (a) (b)"),
        ("sum(b) without (c)", "sum without (c) (b)"),
        ("topk(3,a)", "topk(3, a)"),
        ("a+b*c", "a + b * c"),
        ("a/on(b)group_left c", "a / on (b) group_left () c"),
        ("a ==bool b", "a == bool b"),
        ("a+fill(1)b", "a + fill_left (1) fill_right (1) b"),
        ("a[ 5m ]", "a[5m]"),
        ("a @ start() offset -5m", "a offset -5m @ start()"),
        ("a[5m]smoothed@3", "a[5m] @ 3 smoothed"),
        ("a[5m:]", "a[5m:]"),
        ("- 1", "-1"),
        ("+a", "+a"),
        ("((a))", "((a))"),
        ("'x'", '"x"'),
        ('{"a"}', "a"),
        ('{"a b"}', '{__name__="a b"}'),
        ('{"on"}', '{__name__="on"}'),
        ("{a='b',c!='d'}", '{a="b",c!="d"}'),
        ("{'x y'='1'}", '{"x y"="1"}'),
        ('by{sum="1"}', 'by{sum="1"}'),
        ("sum by ('x y', 'inf', a) (b)", 'sum by ("x y", "inf", a) (b)'),
        ("a offset (1m) + 2 @ 3", "a offset (1m) + 2 @ 3"),
    ],
)
def test_a_query_is_written_in_one_way(text: str, printed: str) -> None:
    assert print_query(parse_query(text)) == printed
    assert parse_query(printed) == parse_query(text)


def test_two_conditions_on_the_name_stand_in_braces() -> None:
    conditions = (Condition("__name__", "=", "up"), Condition("__name__", "=~", "u.*"))

    assert print_conditions(conditions) == '{__name__="up",__name__=~"u.*"}'


def test_a_value_cannot_end_its_string() -> None:
    hostile = 'x"} or secret{a="'

    assert print_conditions((Condition("a", "=", hostile),)) == '{a="x\\"} or secret{a=\\""}'

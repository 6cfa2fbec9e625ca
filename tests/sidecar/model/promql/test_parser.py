import sys

import pytest
from hypothesis import example, given

from sidecar.errors import QueryError
from sidecar.model.promql.ast import Aggregate, Binary, Number, Paren, Selector, Step, Subquery
from sidecar.model.promql.cursor import MAX_COMPILED
from sidecar.model.promql.parser import (
    MAX_QUERY_BYTES,
    parse_query,
    parse_series_selector,
    parse_series_selectors,
)
from sidecar.model.promql.printer import print_query
from tests.real_parts.oracle import Oracle
from tests.sidecar.model.promql.queries import QUERIES, TYPE_ERRORS, prometheus_own


def _differs(text: str, oracle: Oracle) -> str:
    """Describe how our reading of a text differs from Prometheus'; empty if it does not."""
    if "info(" in text:
        return ""  # Prometheus remembers whether the name of its second selector was in braces
    (theirs,) = oracle.queries([text])
    try:
        tree = parse_query(text)
    except QueryError as error:
        return "" if theirs.printed is None else f"{text!r} is refused: {error}"
    if theirs.printed is None:
        return "" if TYPE_ERRORS.search(theirs.error) else f"{text!r} is not: {theirs.error}"
    printed = print_query(tree)
    (again,) = oracle.queries([printed])
    if again.printed != theirs.printed:
        return f"{text!r} became {printed!r}: {again} instead of {theirs}"
    return "" if parse_query(printed) == tree else f"{printed!r} is read otherwise"


def test_prometheus_own_queries_are_read_as_it_reads_them(oracle: Oracle) -> None:
    texts = prometheus_own()

    assert len(texts) > 2000
    assert [found for text in texts if (found := _differs(text, oracle))] == []


@example("a offset (5m) + b")
@example("a offset (5m) @ 3 + b")
@example("a offset -(5m) + b")
@example("sum by (x) (a) by (y)")
@example("a * on() group_left (b)")
@example('{"x", __name__=~"y"}')
@example("a{b='c'}[5m:1m] offset 1h")
@example("# nothing")
@given(QUERIES)
def test_a_query_is_read_as_prometheus_reads_it(oracle: Oracle, text: str) -> None:
    assert _differs(text, oracle) == ""


def test_a_chain_of_operators_is_flat_and_others_nest() -> None:
    a, b, c = (Selector(parse_series_selector(name).conditions) for name in "abc")

    found = parse_query("a + b * c")

    assert isinstance(found, Binary)
    assert found.first == a
    assert isinstance(found.steps[0].right, Binary)
    assert parse_query("a or b or c") == Binary(
        a, (Step("or", found.steps[0].matching, b), Step("or", found.steps[0].matching, c))
    )


def test_thousands_of_operands_make_no_deep_tree() -> None:
    text = " or ".join(["a"] * 2700)

    assert print_query(parse_query(text)) == text


@pytest.mark.parametrize("nested", ["({})", "-{}", "abs({})", "sum({})", "a ^ {}"])
def test_200_levels_are_read_and_201_refused_wherever_they_come_from(nested: str) -> None:
    parse_query(_repeat(nested, 199))
    with pytest.raises(QueryError, match="nested deeper than 200"):
        parse_query(_repeat(nested, 200))


def _repeat(nested: str, levels: int) -> str:
    left, right = nested.split("{}")
    return left * levels + "a" + right * levels


def test_durations_are_as_deep_as_expressions() -> None:
    parse_query(f"a[{'(' * 198}5m{')' * 198}]")
    with pytest.raises(QueryError, match="nested deeper than 200"):
        parse_query(f"a[{'(' * 200}5m{')' * 200}]")


def test_subqueries_one_behind_another_are_bounded_too() -> None:
    parse_query("a" + "[1m:]" * 200)
    with pytest.raises(QueryError, match="nested deeper than 200"):
        parse_query("a" + "[1m:]" * 201)


def test_the_bound_is_reached_before_python_s_own() -> None:
    frames = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(900)
        parse_query("(" * 199 + "a" + ")" * 199)
    finally:
        sys.setrecursionlimit(frames)


@pytest.mark.parametrize(
    "text", ["a" * (MAX_QUERY_BYTES + 1), '"' + "é" * 9000 + '"', "(" * 1_000_000]
)
def test_a_query_is_bounded_in_bytes(text: str) -> None:
    with pytest.raises(QueryError, match=r"a query of \d+ bytes; 16384 are allowed"):
        parse_query(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1:1: parse error: no expression found in input"),
        ("sum(", "1:5: parse error: unexpected end of input"),
        ("a +\n  é", "2:3: parse error: unexpected character: 'é'"),
        ('{a="é"} b', '1:10: parse error: unexpected identifier "b"'),
        ("a{b}", '1:4: parse error: unexpected "}" in label matching, expected label matching '
                 "operator"),
        ("a{b=c}", '1:5: parse error: unexpected identifier "c" in label matching, expected '
                   "string"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("nope(a)", '1:1: parse error: unknown function with name "nope"'),
        ("sum by x (a)", '1:8: parse error: unexpected identifier "x" in grouping opts, expected '
                         '"("'),
        ("a[0s]", "1:3: parse error: duration must be greater than 0"),
        ("a[5m] offset", '1:13: parse error: unexpected end of input in offset, expected number, '
                         "duration, step(), or range()"),
        ("a @ x", '1:5: parse error: unexpected identifier "x" in @, expected timestamp'),
        ("5x", '1:1: parse error: bad number or duration syntax: "5x"'),
        ("a[300y]", "1:3: parse error: duration out of range"),
        ('"a', "1:1: parse error: unterminated quoted string, or a string with invalid UTF-8"),
        ('"\\z"', '1:1: parse error: "\\z" contains an invalid escape'),
    ],
)  # fmt: skip
def test_an_error_says_where_and_what_in_prometheus_words(text: str, error: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)

    assert str(caught.value) == error


def test_what_is_read_keeps_what_was_written() -> None:
    found = parse_query("topk by (x) (0x1f, (max(a[5m:1m] @ end())))")

    assert isinstance(found, Aggregate)
    assert found.parameter == Number("0x1f")
    assert isinstance(found.expr, Paren)
    inner = found.expr.expr
    assert isinstance(inner, Aggregate)
    assert isinstance(inner.expr, Subquery)
    assert inner.expr.modifiers.at == "end()"


@pytest.mark.parametrize("text", ["a[5m]", "a offset 5m", "a or b", "{}", "sum(a)", "", "a{", "1"])
def test_a_series_selector_is_one_alone(text: str) -> None:
    with pytest.raises(QueryError):
        parse_series_selector(text)


def test_only_so_many_patterns_are_compiled_for_one_query() -> None:
    selectors = [f'{{a=~"x{at}.+"}}' for at in range(MAX_COMPILED + 1)]

    parse_query(" + ".join(selectors[1:]))
    parse_query(" + ".join(f"up{item}" for item in selectors))
    with pytest.raises(QueryError, match="more than 20 conditions in selectors that name no"):
        parse_query(" + ".join(selectors))


def test_series_selectors_of_one_request_share_the_bound_of_patterns() -> None:
    texts = [
        "{" + ",".join(f'a=~"x|y{at}{number}"' for at in range(4)) + "}" for number in range(6)
    ]

    assert len(parse_series_selectors(texts[:5])) == 5
    with pytest.raises(QueryError, match="more than 20 conditions in selectors that name no"):
        parse_series_selectors(texts)

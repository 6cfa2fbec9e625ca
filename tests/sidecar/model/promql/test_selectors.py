import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import RuleError
from sidecar.model.promql.selectors import (
    MAX_MATCHERS,
    MAX_SELECTOR_LENGTH,
    PatternKind,
    parse_pattern,
    parse_selector,
)
from tests.real_parts.oracle import Oracle, Refused

_TOKENS = [
    "a", "b:c", "{", "}", ",", "=", "!=", "=~", "!~", '"v"', "'v'", "`v`", '"a.*"', '""', " ", "\n",
    "__name__", '"a.b"', '"\\n"', '"\\x41"', '"\\u20ac"', '"\\""', "'\\''", '"\\\'"', '"\\z"', "é",
    '"é"', '"("', '"\\400"', '"\\101"', '"\\ud800"', '"\\xff"', "9", '"a\nb"', "`a\nb`", "{a", '"',
    "by", "and", "sum", "inf", "nan", "offset", "on", "bool", "start", "# x\n", "[5m]", "1", "Inf",
]  # fmt: skip


def _ours(text: str) -> list[tuple[str, str, str]] | str:
    try:
        matchers = parse_selector(text)
    except RuleError as error:
        return str(error)
    return sorted((matcher.op.value, matcher.name, matcher.value) for matcher in matchers)


def _theirs(text: str, oracle: Oracle) -> list[tuple[str, str, str]] | str:
    try:
        return sorted(oracle.selector(text))
    except Refused as refused:
        return str(refused)


def _is_utf8(matchers: list[tuple[str, str, str]]) -> bool:
    return not any("\ud800" <= char <= "\udfff" for item in matchers for char in item[1] + item[2])


@st.composite
def _selectors(draw: st.DrawFn) -> str:
    """A well-formed selector with a few tokens changed."""
    name = st.sampled_from(["a", "b:c", "job", "__name__", '"a.b"', "sum", "by", "on"])
    op = st.sampled_from(["=", "!=", "=~", "!~"])
    value = st.sampled_from([token for token in _TOKENS if token[0] in "\"'`" and len(token) > 1])
    block = draw(st.lists(st.builds(lambda *parts: [*parts, ","], name, op, value), max_size=3))
    tokens = [
        draw(st.sampled_from(["a", "b:c", ""])),
        "{",
        *[t for parts in block for t in parts],
        "}",
    ]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        tokens[draw(st.integers(0, len(tokens) - 1))] = draw(st.sampled_from([*_TOKENS, ""]))
    return draw(st.sampled_from(["", "", " "])).join(tokens)


@given(st.one_of(_selectors(), st.lists(st.sampled_from(_TOKENS), max_size=7).map("".join)))
def test_a_selector_is_read_as_promql_reads_it(oracle: Oracle, text: str) -> None:
    ours, theirs = _ours(text), _theirs(text, oracle)

    if isinstance(theirs, str) or _is_utf8(theirs):
        assert ours == theirs or (isinstance(ours, str) and isinstance(theirs, str))
    else:
        assert isinstance(ours, str)  # no series has such a value


@pytest.mark.parametrize(
    "text",
    ['a{b="c"}', "a", '{a="b",}', '{"a.b"}', '{"a.b",c="d"}', '{"b.c"="d"}', "a{b='c'}",

       "a{b=`\\`}",
     'a{ b = "c" , d != "e" }', '{__name__=~"a.+"}', 'a{b=~"c|d",e!~"f"}', "{}", "a{}",
     '{a="\\x41"}',
     '{a=""}', "a {b='c'}", 'a{__name__="b"}', 'a{"b"}', '{"a","b"}', '{a="b",a="c"}'],
)  # fmt: skip
def test_a_selector_of_promql_is_taken(text: str, oracle: Oracle) -> None:
    assert isinstance(_theirs(text, oracle), list)
    assert _ours(text) == _theirs(text, oracle)


@pytest.mark.parametrize(
    "text",
    ["", "{", "a{", "a}", "a{b}", "a{b=}", 'a{b="c"', 'a{b="c" d="e"}', "{,}", 'a{b:c="d"}', "a b",
     'a{b=~"("}', "a{b=c}", 'a{b=="c"}', '{a="\\z"}',
     'a[5m]', 'a{b="c"}[5m]', '{a="\n"}', "sum(a)", "9a"],
)  # fmt: skip
def test_what_is_no_selector_of_promql_is_refused(text: str, oracle: Oracle) -> None:
    assert isinstance(_theirs(text, oracle), str)
    assert isinstance(_ours(text), str)


def test_a_selector_is_bounded() -> None:
    with pytest.raises(RuleError, match="4097 characters; a selector may have 4096"):
        parse_selector("a" * (MAX_SELECTOR_LENGTH + 1))
    with pytest.raises(RuleError, match=f"more than {MAX_MATCHERS} matchers"):
        parse_selector("{" + 'a="b",' * (MAX_MATCHERS + 1) + "}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("http_requests_total", PatternKind.EXACT),
        ("job:rate:5m", PatternKind.EXACT),
        ("http_.*", PatternKind.REGEX),
        ("http_.{3}", PatternKind.REGEX),
        ("http_.{3,}", PatternKind.REGEX),
        ("a|b", PatternKind.REGEX),
        ("a.b", PatternKind.REGEX),
        ('a{b="c"}', PatternKind.SELECTOR),
        ('{__name__=~"a.{3}"}', PatternKind.SELECTOR),
        ("a{}", PatternKind.SELECTOR),
    ],
)
def test_a_pattern_is_exact_or_a_regex_or_a_selector(text: str, kind: PatternKind) -> None:
    assert parse_pattern(text).kind is kind


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n", "(", "a{", "a{b}", "http_.{1001}", "a++", "{a=~'('}", "x)|(y", "{a=~'x)|(y'}"],
)
def test_a_bad_pattern_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "labels", "is_match"),
    [
        ("a", {"__name__": "a"}, True),
        ("a", {"__name__": "ab"}, False),
        ("a.*", {"__name__": "ab"}, True),
        ("a.*", {"__name__": "ba"}, False),
        ('a{b="c"}', {"__name__": "a", "b": "c"}, True),
        ('a{b="c"}', {"__name__": "a"}, False),
        ('a{b!="c"}', {"__name__": "a"}, True),
        ('a{b=""}', {"__name__": "a"}, True),
        ('a{b=~".+"}', {"__name__": "a"}, False),
        ('a{b!~"c.*"}', {"__name__": "a", "b": "cd"}, False),
        ('{b="c"}', {"__name__": "z", "b": "c"}, True),
        ("{}", {"__name__": "z"}, True),
        ('a{b=".+"}', {"__name__": "a", "b": "c"}, True),
        ('a{b=".+"}', {"__name__": "a"}, False),
    ],
)
def test_a_pattern_matches_as_promql_would(
    text: str, labels: dict[str, str], is_match: bool
) -> None:
    assert parse_pattern(text).matches(labels) is is_match


@pytest.mark.parametrize("value", [".*", ".+"])
def test_equal_to_anything_is_read_as_a_regex_and_noted(value: str) -> None:
    pattern = parse_pattern(f'a{{b="{value}",c="d"}}')

    assert pattern.note == f'b="{value}" is read as =~'


@pytest.mark.parametrize("text", ["a", "a.*", 'a{b=~".*"}', 'a{b="..*"}', 'a{b!=".*"}'])
def test_what_is_read_as_written_has_no_note(text: str) -> None:
    assert parse_pattern(text).note == ""

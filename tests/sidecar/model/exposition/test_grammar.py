import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.grammar import GRAMMARS, ITEM, PLAIN, PLAIN_ITEM

_TEXT, _OPENMETRICS = GRAMMARS[Format.TEXT], GRAMMARS[Format.OPENMETRICS]
_PAIRS = st.lists(
    st.tuples(
        st.sampled_from([b"b", b"_c", b"le9", b"9d", b'"e f"', b""]),
        st.sampled_from([b"", b"v", b"}", b",", b'\\"', b"\\\\", b"\n", b"\xff", b" # {", b"b="]),
    ),
    max_size=4,
)
_LONG = 100_000


def _series(name: bytes, pairs: list[tuple[bytes, bytes]], end: bytes) -> bytes:
    block = b",".join(b'%b="%b"' % pair for pair in pairs)
    return b"%b{%b%b}" % (name, block, end) if pairs else name


@given(
    st.sampled_from([b"a", b"b:c", b"_", b"9a", b""]), _PAIRS, st.sampled_from([b"", b",", b" "])
)
def test_what_the_quick_pattern_takes_both_formats_take_alike(
    name: bytes, pairs: list[tuple[bytes, bytes]], end: bytes
) -> None:
    text = _series(name, pairs, end)
    plain = PLAIN.fullmatch(text)
    if plain is None:
        return
    quick = PLAIN_ITEM.findall(plain[2] or b"")

    for grammar in GRAMMARS.values():
        series = grammar.series.fullmatch(text)
        assert series is not None
        assert series[1] == plain[1]
        exact = [(item[1], item[3]) for item in ITEM.finditer(series[2] or b"")]
        assert exact == quick == pairs


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        (b"a", True),
        (b'a{b="c",d="e",}', True),
        (b"a{}", True),
        (b'a{b="\xc3\xa9"}', True),
        (b'a{b="\\n"}', False),
        (b'a{b="\n"}', False),
        (b'a{"b"="c"}', False),
        (b'a{b="c" }', False),
        (b'a{b="c",,}', False),
        (b'a{b:c="d"}', False),
        (b'{"a"}', False),
    ],
)
def test_the_quick_pattern_takes_only_what_needs_no_second_look(
    text: bytes, is_plain: bool
) -> None:
    assert (PLAIN.fullmatch(text) is not None) is is_plain


@pytest.mark.parametrize(
    ("series", "text", "openmetrics"),
    [
        (b'a{b="c"}', True, True),
        (b'a {b="c"}', True, False),
        (b'\ta{ b\t= "c" , }', True, False),
        (b'a{b="c"d="e"}', True, False),
        (b'a{b="\n"}', True, False),
        (b'a{b="\\\n"}', False, False),
        (b'{"a\nb",c="d"}', True, True),
        (b'{c="d","a"}', True, True),
        (b'a{b="c"', False, False),
        (b'a{b="c\\"}', False, False),
        (b"a{,}", False, False),
    ],
)
def test_text_is_laxer_about_blanks_and_newlines_than_openmetrics(
    series: bytes, text: bool, openmetrics: bool
) -> None:
    assert (_TEXT.series.fullmatch(series) is not None) is text
    assert (_OPENMETRICS.series.fullmatch(series) is not None) is openmetrics


@pytest.mark.parametrize(
    ("tail", "text", "openmetrics"),
    [
        (b" 1\n", (b"1", None), (b"1", None)),
        (b" -Infinity 5\n", (b"-Infinity", b"5"), (b"-Infinity", b"5")),
        (b"\t1  5 \n", (b"1", b"5"), None),
        (b"1\n", (b"1", None), None),
        (b" 1", (b"1", None), None),
        (b" 1 -5.5\n", None, (b"1", b"-5.5")),
        (b" 15\n", (b"15", None), (b"15", None)),
        (b' 1 # {t="a,}"} 2 3\n', None, (b"1", None)),
        (b" 0x1\n", None, None),
        (b" +NaN\n", None, None),
        (b" 1\r\n", None, None),
    ],
)
def test_a_tail_is_a_value_and_perhaps_a_timestamp(
    tail: bytes, text: tuple[bytes, ...] | None, openmetrics: tuple[bytes, ...] | None
) -> None:
    for grammar, expected in ((_TEXT, text), (_OPENMETRICS, openmetrics)):
        match = grammar.tail.fullmatch(tail)
        assert (None if match is None else match.group(1, 2)) == expected


@pytest.mark.parametrize(
    ("line", "kind", "name"),
    [
        (b"# HELP a b", b"HELP", b"a"),
        (b" #\tTYPE\t a gauge", b"TYPE", b"a"),
        (b'# HELP "a\nb" c', b"HELP", b'"a\nb"'),
        (b"# TYPE ", b"TYPE", None),
    ],
)
def test_a_comment_with_a_meaning_says_what_it_is_about(
    line: bytes, kind: bytes, name: bytes | None
) -> None:
    match = _TEXT.meta.match(line)

    assert match is not None
    assert (match[1], match[2] or match[3]) == (kind, name)


@pytest.mark.parametrize("line", [b"#HELP a b", b"# help a b", b"# HELPa b", b"# UNIT a b", b"# x"])
def test_any_other_comment_of_text_has_no_meaning(line: bytes) -> None:
    assert _TEXT.meta.match(line) is None
    assert _TEXT.comment_start.match(line) is not None


def test_only_text_has_blank_lines() -> None:
    assert _TEXT.blank.match(b" \t\n") is not None
    assert _OPENMETRICS.blank.match(b"\n") is None


def test_each_format_has_types_of_its_own() -> None:
    assert _TEXT.types - _OPENMETRICS.types == {b"untyped"}
    assert _OPENMETRICS.types - _TEXT.types == {b"gaugehistogram", b"info", b"stateset", b"unknown"}


@pytest.mark.parametrize(
    "body",
    [
        b"a{" + b'b="c",' * _LONG + b"!",
        b"a{" + b'b="' + b'\\"' * _LONG,
        b"a{" + b'"b" , ' * _LONG + b"!",
        b"a{" + b" " * _LONG + b"!",
        b'a{b="c"' + b", " * _LONG + b"!",
        b"a{" + b'"' * (2 * _LONG + 1),
    ],
)
def test_a_hostile_label_set_is_refused_without_going_back(body: bytes) -> None:
    for pattern in (_TEXT.series, _OPENMETRICS.series, PLAIN):
        match = pattern.match(body)
        assert match is not None
        assert match[2] is None


@pytest.mark.parametrize(
    "tail", [b" " + b"1" * _LONG + b"!", b" " * _LONG, b" 1" + b" " * _LONG + b"!"]
)
def test_a_hostile_tail_is_refused_without_going_back(tail: bytes) -> None:
    assert _TEXT.tail.match(tail) is None
    assert _OPENMETRICS.tail.match(tail) is None

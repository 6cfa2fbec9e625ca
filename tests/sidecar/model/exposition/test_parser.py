import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.errors import ExpositionError, LateError, LimitError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import (
    MAX_COMMENT_LINES,
    MAX_SERIES_BYTES,
    parse_head,
    parse_rest,
    scan,
)
from tests.real_parts.oracle import Oracle
from tests.sidecar.model.bodies import bodies
from tests.sidecar.model.reading import DELIBERATE, read, told

_EOF = b"# EOF\n"

# Whether Prometheus 3.x ingests the line as (text, OpenMetrics), the latter followed by # EOF.
_TRICKY = {
    "plain": (b"a 1\n", True, True),
    "crlf": (b"a 1\r\n", False, False),
    "crlf-behind-labels": (b'a{b="c"} 1\r\n', False, False),
    "crlf-behind-type": (b"# TYPE a gauge\r\n", False, False),
    "crlf-behind-help": (b"# HELP a b\r\n", True, True),
    "blank-line": (b"\n", True, False),
    "line-of-blanks": (b" \t\n", True, False),
    "free-comment": (b"# free\n", True, False),
    "bare-hash": (b"#\n", True, False),
    "help-without-blank": (b"#HELP a b\n", True, False),
    "unit": (b"# UNIT a_s s\n", True, True),
    "unit-no-suffix": (b"# UNIT a_s m\n", True, False),
    "unit-is-whole-name": (b"# UNIT s s\n", True, False),
    "eof-in-the-middle": (b"a 1\n# EOF\nb 1\n", True, False),
    "eof-twice": (b"# EOF\n", True, False),
    "eof-and-more": (b"# EOF 1\n", True, False),
    "newline-in-value": (b'a{b="c\nd"} 1\n', True, False),
    "newline-behind-backslash": (b'a{b="c\\\nd"} 1\n', False, False),
    "newline-in-quoted-name": (b'{"a\nb"} 1\n', True, True),
    "newline-in-name-of-help": (b'# HELP "a\nb" c\n', True, True),
    "brace-in-value": (b'a{b="}"} 1\n', True, True),
    "open-brace-in-value": (b'a{b="{"} 1\n', True, True),
    "comma-in-value": (b'a{b=",c="} 1\n', True, True),
    "quote-in-value": (b'a{b="\\""} 1\n', True, True),
    "hash-in-value": (b'a{b="#"} 1\n', True, True),
    "exemplar-in-value": (b'a{b=" # {"} 1\n', True, True),
    "value-ends-in-backslash": (b'a{b="c\\\\"} 1\n', True, True),
    "unknown-escape": (b'a{b="\\z"} 1\n', True, True),
    "unclosed-value": (b'a{b="c} 1\n', False, False),
    "trailing-comma": (b'a{b="c",} 1\n', True, True),
    "lone-comma": (b"a{,} 1\n", False, False),
    "two-commas": (b'a{b="c",,d="e"} 1\n', False, False),
    "missing-comma": (b'a{b="c" d="e"} 1\n', True, False),
    "missing-comma-and-blank": (b'a{b="c"d="e"} 1\n', True, False),
    "blanks-in-braces": (b'a{ b = "c" , d="e" } 1\n', True, False),
    "blank-before-brace": (b'a {b="c"} 1\n', True, False),
    "blanks-between": (b"a   1   2\n", True, False),
    "tabs": (b'a\t{b="c"}\t1\t2\n', True, False),
    "no-blank-before-value": (b'a{b="c"}1\n', True, False),
    "no-blank-behind-name": (b"a+1\n", True, False),
    "empty-braces": (b"a{} 1\n", True, True),
    "timestamp": (b"a 1 1700000000000\n", True, True),
    "negative-timestamp": (b"a 1 -5\n", False, True),
    "signed-timestamp": (b"a 1 +5\n", False, True),
    "fraction-timestamp": (b"a 1 1.5\n", False, True),
    "greatest-timestamp": (b"a 1 9223372036854775807\n", True, True),
    "overflowing-timestamp": (b"a 1 9223372036854775808\n", False, True),
    "timestamp-of-zeros": (b"a 1 00000000000000000000000007\n", True, True),
    "overflow-behind-zeros": (b"a 1 000000000000000000000009223372036854775808\n", False, True),
    "timestamp-of-5000-digits": (b"a 1 " + b"9" * 5000 + b"\n", False, False),
    "nan-timestamp": (b"a 1 NaN\n", False, False),
    "infinite-timestamp": (b"a 1 Inf\n", False, False),
    "two-timestamps": (b"a 1 2 3\n", False, False),
    "exemplar": (b'a 1 # {t="1"} 2\n', False, True),
    "exemplar-with-timestamps": (b'a 1 2 # {t="1"} 2 1.5\n', False, True),
    "exemplar-without-labels": (b"a 1 # {} 2\n", False, True),
    "exemplar-on-a-gauge": (b"# TYPE a gauge\na 1 # {} 2\n", False, True),
    "exemplar-trailing-comma": (b'a 1 # {t="1",} 2\n', False, True),
    "exemplar-missing-comma": (b'a 1 # {t="1"u="2"} 2\n', False, False),
    "exemplar-of-a-bare-string": (b'a 1 # {"t"} 2\n', False, False),
    "exemplar-without-value": (b'a 1 # {t="1"}\n', False, False),
    "exemplar-nan-timestamp": (b'a 1 # {t="1"} 2 NaN\n', False, False),
    "exemplar-overflow": (b'a 1 # {t="1"} 1e400\n', False, False),
    "type-untyped": (b"# TYPE a untyped\n", True, False),
    "type-in-capitals": (b"# TYPE a Gauge\n", False, False),
    "type-two-blanks": (b"# TYPE a  gauge\n", False, False),
    "type-trailing-blank": (b"# TYPE a gauge \n", False, False),
    "type-without-text": (b"# TYPE a\n", False, False),
    "type-behind-any-character": (b"# TYPE a{gauge\n", True, False),
    "help-without-text": (b"# HELP a\n", True, False),
    "help-with-empty-text": (b"# HELP a \n", True, True),
    "help-without-name": (b"# HELP \n", False, False),
    "help-quoted": (b'# HELP "a.b" c\n', True, True),
    "quoted-name-first": (b'{"a.b",c="d"} 1\n', True, True),
    "quoted-name-last": (b'{c="d","a.b"} 1\n', True, True),
    "quoted-label-name": (b'a{"b.c"="d"} 1\n', True, True),
    "name-as-label-only": (b'{__name__="a"} 1\n', False, False),
    "no-name": (b"{} 1\n", False, False),
    "two-quoted-names": (b'{"a","b"} 1\n', False, False),
    "name-and-quoted-name": (b'a{"b"} 1\n', False, False),
    "quoted-name-without-braces": (b'"a" 1\n', False, False),
    "invalid-utf8-in-value": (b'a{b="\xff"} 1\n', False, False),
    "invalid-utf8-in-help": (b"# HELP a \xff\n", False, False),
    "invalid-utf8-in-comment": (b"# \xff\n", True, False),
    "utf8-in-value": ('a{b="€"} 1\n'.encode(), True, True),
    "utf8-name-without-quotes": ("é 1\n".encode(), False, False),
    "byte-order-mark": (b"\xef\xbb\xbfa 1\n", False, False),
    "no-break-space": (b"a\xc2\xa01\n", False, False),
    "nul-in-value": (b'a{b="\0"} 1\n', True, True),
    "nul-in-help": (b"# HELP a b\0c\n", True, True),
    "leading-blanks": (b"  a 1\n", True, False),
    "empty-value": (b'a{b=""} 1\n', True, True),
    "digit-first": (b"9a 1\n", False, False),
    "colon-in-label": (b'a{b:c="d"} 1\n', False, False),
    "no-value": (b"a\n", False, False),
    "labels-twice": (b'a{b="c"}{d="e"} 1\n', False, False),
}  # fmt: skip
_NUMBERS_TAKEN = ["NaN", "nan", "Inf", "+Inf", "-inf", "infinity", ".5", "5.", "1E5", "+1", "-0"]
_NUMBERS_REFUSED = [
    "1_2",
    "0x10",
    "0x1p-3",
    "1e400",
    "-1e400",
    "1e",
    ".",
    "+nan",
    "1,5",
    "١",
    "--1",
]
_GREATEST = ["1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e-400"]


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize(("line", "text", "openmetrics"), _TRICKY.values(), ids=_TRICKY)
def test_a_tricky_line_is_read_as_prometheus_reads_it(
    line: bytes, text: bool, openmetrics: bool, fmt: Format, oracle: Oracle
) -> None:
    body = line + (_EOF if fmt is Format.OPENMETRICS else b"")

    ours, theirs = read(body, fmt), told(oracle.parse(body, fmt.value))

    assert isinstance(theirs, list) is (text if fmt is Format.TEXT else openmetrics)
    assert ours == theirs or (isinstance(ours, str) and isinstance(theirs, str))


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("value", [*_NUMBERS_TAKEN, *_NUMBERS_REFUSED, *_GREATEST])
def test_a_number_is_read_as_go_reads_it(value: str, fmt: Format, oracle: Oracle) -> None:
    body = f"a {value}\n".encode() + (_EOF if fmt is Format.OPENMETRICS else b"")

    ours, theirs = read(body, fmt), told(oracle.parse(body, fmt.value))

    assert isinstance(ours, list) is (value not in {*_NUMBERS_REFUSED, _GREATEST[2]})
    assert ours == theirs or (isinstance(ours, str) and isinstance(theirs, str))


@pytest.mark.parametrize("fmt", Format)
@given(data=st.data())
def test_any_body_is_read_as_prometheus_reads_it(
    data: st.DataObject, fmt: Format, oracle: Oracle
) -> None:
    body = data.draw(bodies(fmt))

    ours, theirs = read(body, fmt), told(oracle.parse(body, fmt.value))

    if isinstance(ours, list):
        assert ours == theirs
    elif isinstance(theirs, list):
        assert b"\0" in body or any(reason in ours for reason in DELIBERATE)


@pytest.mark.parametrize("fmt", Format)
@given(data=st.data())
def test_heads_tails_and_closing_comments_are_the_whole_body(
    data: st.DataObject, fmt: Format
) -> None:
    body = data.draw(bodies(fmt))
    assume(isinstance(read(body, fmt), list))
    samples = list(scan(body, fmt))

    text = b"".join(sample.text + sample.tail for sample in samples)
    rest = body[len(text) :]

    assert (text + rest).removesuffix(b"\n") == body.removesuffix(b"\n")
    assert not list(scan(rest, fmt))


@pytest.mark.parametrize("fmt", Format)
@given(data=st.data())
def test_a_head_read_on_its_own_is_what_it_is_in_its_body(data: st.DataObject, fmt: Format) -> None:
    body = data.draw(bodies(fmt))
    assume(isinstance(read(body, fmt), list))
    for sample in scan(body, fmt):
        assert parse_head(sample.text, fmt) in (sample.head, None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'a{b="c",b="d"} 1\n', "line 1: label name 'b' is not unique"),
        (b'a{b="",b=""} 1\n', "line 1: label name 'b' is not unique"),
        (b'a{"b"="c",b="d"} 1\n', "line 1: label name 'b' is not unique"),
        (b'b 1\na{__name__="b"} 1\n', "line 2: a label is named '__name__'"),
        (b'a{""="b"} 1\n', "line 1: a label is named ''"),
        (b'{"\xff"} 1\n', "line 1: a metric name is not valid UTF-8"),
        (b'a{"\xff"="b"} 1\n', "line 1: a label name is not valid UTF-8"),
        (b'# TYPE "\xff" gauge\n', "line 1: a metric name is not valid UTF-8"),
        (b"a\0 1\n", "line 1: cannot read '\\x00 1' in 'a\\x00 1'"),
        (b"# a\0b\n", "line 1: a NUL byte in a comment"),
        (b'{""} 1\n', "line 1: there is no metric name"),
    ],
)  # fmt: skip
def test_what_only_the_scrape_loop_refuses_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ExpositionError) as caught:
        list(scan(body, Format.TEXT))

    assert str(caught.value) == reason


@pytest.mark.parametrize("line", [b"a 1 \n", b"a 1 2 \n", b'a 1 # {t="1"} 2 \n', b"a 1  2\n"])
def test_blanks_at_the_end_of_an_openmetrics_line_are_refused(line: bytes) -> None:
    assert "cannot read" in read(line + _EOF, Format.OPENMETRICS)


@pytest.mark.parametrize("end", [b"# EOF", b"# EOF\n"])
def test_openmetrics_ends_in_eof_with_or_without_a_newline(end: bytes) -> None:
    assert read(b"a 1\n" + end, Format.OPENMETRICS) == read(b"a 1\n", Format.TEXT)


@pytest.mark.parametrize("body", [b"", b"a 1\n", b"a 1\n# EO", b"a 1\n# EOF\n\n", b"a 1\n# EOFF"])
def test_openmetrics_without_eof_at_its_end_is_refused(body: bytes, oracle: Oracle) -> None:
    assert isinstance(read(body, Format.OPENMETRICS), str)
    assert oracle.parse(body, "openmetrics").error is not None


@pytest.mark.parametrize(
    "body", [b"a 1", b'a{b="c"} 1 5', b"# HELP a b", b"# TYPE a gauge", b"# x"]
)
def test_text_needs_no_final_newline(body: bytes) -> None:
    assert read(body, Format.TEXT) == read(body + b"\n", Format.TEXT)


def test_an_error_names_the_line_where_newlines_in_values_count() -> None:
    with pytest.raises(ExpositionError) as caught:
        list(scan(b'a{b="c\nd"} 1\n\nb x\n', Format.TEXT))

    assert caught.value.line == 4


def test_an_error_quotes_no_more_than_a_line_of_text() -> None:
    with pytest.raises(ExpositionError) as caught:
        list(scan(b"x" * 100_000 + b"\n", Format.TEXT))

    assert len(str(caught.value)) < 400


def test_blank_lines_in_a_row_are_one_comment() -> None:
    rest = parse_rest(b"\n \n" * MAX_COMMENT_LINES, Format.TEXT)

    assert rest is not None
    assert [comment.raw for comment in rest] == [b"\n \n" * MAX_COMMENT_LINES]


def test_comments_are_read_no_longer_than_there_is_time() -> None:
    with pytest.raises(LateError, match="only 1000 comment lines could be read"):
        parse_rest(b"# HELP a b\n" * 5000, Format.TEXT, lambda: True)


@pytest.mark.parametrize("line", [b"#\n", b"# HELP a b\n", b"# TYPE a gauge\n"])
def test_comments_in_a_row_are_bounded(line: bytes) -> None:
    with pytest.raises(LimitError, match=f"more than {MAX_COMMENT_LINES} comment lines"):
        list(scan(line * (MAX_COMMENT_LINES + 1), Format.TEXT))


@pytest.mark.parametrize(
    "series", [b"a" * MAX_SERIES_BYTES, b'a{b="' + b"c" * MAX_SERIES_BYTES + b'"}']
)
def test_a_series_is_bounded(series: bytes) -> None:
    with pytest.raises(LimitError, match=f"a series of more than {MAX_SERIES_BYTES} bytes"):
        list(scan(series + b"c 1\n", Format.TEXT))
    assert parse_head(series + b"c", Format.TEXT) is None


@pytest.mark.parametrize(
    "text", [b"", b"# HELP", b"# x HELP", b"# TYPE a", b"a ", b" ", b"# HELP a\n", b"a\n"]
)
def test_a_head_that_its_surroundings_decide_is_left_to_them(text: bytes) -> None:
    assert parse_head(text, Format.TEXT) is None
    assert parse_head(text, Format.OPENMETRICS) is None


@pytest.mark.parametrize(
    ("rest", "text", "openmetrics"),
    [
        (b"", True, False),
        (b"# x\n", True, False),
        (b"# x", False, False),
        (b"# EOF\n", True, True),
        (b"# EOF", False, True),
        (b"# HELP a b\n# EOF\n", True, True),
        (b"a 1\n", False, False),
        (b"# \0\n", False, False),
        (b"# HELP a \xff\n# EOF\n", False, False),
    ],
)
def test_a_rest_is_read_where_it_is_only_comments(
    rest: bytes, text: bool, openmetrics: bool
) -> None:
    assert (parse_rest(rest, Format.TEXT) is not None) is text
    assert (parse_rest(rest, Format.OPENMETRICS) is not None) is openmetrics

"""Expositions for property tests: plain lines mixed with everything that is odd."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sidecar.model.exposition.formats import Format

_NAMES = [b"a", b"b:c", b"_d9", b"a_total", b"a_bucket", b"a_sum"]
_ODD_NAMES = [b"", b"9a", b"\xc3\xa9", b"a-b", b'"a"', b"  a", b"\ta", b"a\0", b"a\xff"]
_LABELS = [b"x", b"y", b"z", b"long_name"]
_ODD_LABELS = [
    b"",
    b"x:y",
    b"9",
    b"__name__",
    b'"x"',
    b'"q r"',
    b'"\xc3\xa9"',
    b'"\\""',
    b'""',
    b'"\xff"',
]
_VALUES = [b"", b"v", b"1", b"some value", b"\xe2\x82\xac"]
_ODD_VALUES = [
    b'\\"', b"\\\\", b"\\n", b"\\z", b"}", b"{", b",", b"#", b" # {", b"} 1", b" 1\n", b"\n",
    b"\xff", b"\0", b"\r", b"\t", b'"', b"\\", b'",y="', b"\nb 1\n", b"# HELP a b\n", b"\\\n",
]  # fmt: skip
_NUMBERS = [b"1", b"0", b"-2.5", b"1e9", b"+Inf", b"NaN", b"12345678901234567890", b"1.5e-07"]
_ODD_NUMBERS = [
    b"", b"nan", b"inf", b"infinity", b"-INFINITY", b"+nan", b".5", b"5.", b"+1", b"1E+5", b"1_2",
    b"0x10", b"0x1p-3", b"1e400", b"-1e400", b"1e308", b"1.8e308", b"1e-400", b"--1", b"1e", b"e5",
    b".", b"1.2.3", b"1,5", b"1\r", b"1\0", b"\xd9\xa1", b"9" * 400, b"0" * 30 + b"1", b"1{",
]  # fmt: skip
_STAMPS = [b"", b"", b"", b" 1700000000000", b" 1", b" 1.5"]
_ODD_STAMPS = [
    b" -5", b" +5", b" 1.5", b" 9223372036854775807", b" 9223372036854775808", b" NaN", b" Inf",
    b" 1e3", b"  7", b"\t7", b" 7 ", b" 7 8", b" 00000000000000000000007", b" 1e400", b" x", b"7",
    b" 0000000000000000000009999999999999999999", b" 0x1",
]  # fmt: skip
_EXEMPLARS = [b' # {t="1"} 1', b' # {t="1"} 1 1.5', b" # {} 2", b' # {t="a,}",u="\\"",} 3 4']
_ODD_EXEMPLARS = [
    b" # {t} 1", b' # {t="1"}1', b' #{t="1"} 1', b" # 1", b' # {"t"="1"} 1', b' # {"t"} 1',
    b' # {t="1"} 1e400', b' # {t="1"} 1 NaN', b' # {t="1"} 1 ', b' # {t="1" } 1', b" # {t='1'} 1",
    b' # {t="\n"} 1', b' # {t="\xff"} 1', b' # {t="1"u="2"} 1', b' # {t="1",t="2"} 1', b" # {",
    b' # {t="1"} 1 # {t="1"} 1', b' # {t="1"} 0x1', b' # {t="1"} 1 -7', b' # {"\xff"="1"} 1',
]  # fmt: skip
_GAPS = [b"", b" ", b"\t", b"  ", b"\n", b"\r", b","]
_ENDS = [b"\n", b"\n", b"\n", b"\r\n", b" \n", b"\t\n", b"\n\n", b"", b"\n \n"]
_COMMENTS = [
    b"# HELP a some text\n", b"# TYPE a gauge\n", b"# TYPE a counter\n", b"# HELP a a 5\n",
    b"# HELP a ends in 1 1700\n", b"# TYPE a_d counter\n", b"# UNIT a_d d\n", b"# HELP a 5\n",
    b'# HELP "q r" quoted\n', b'# TYPE "q r" gauge\n', b"# HELP a \\n \\\\ \\z\n",
]  # fmt: skip
_ODD_COMMENTS = [
    b"#\n", b"\n", b" \n", b"\t \n", b"# free\n", b"#HELP a b\n", b"# free 5\n", b"# HELP 5\n",
    b"# HELP a\n", b"# HELP a \n", b"# HELP a  \n", b"# TYPE a\n", b"# TYPE a gauge \n",
    b"# TYPE a  gauge\n", b"# TYPE a Gauge\n", b"# TYPE a untyped\n", b"# TYPE a unknown\n",
    b"# TYPE a info\n", b"# TYPE a\tgauge\n", b"# TYPE a{gauge\n", b"#  TYPE\ta gauge\n",
    b" # TYPE a gauge\n", b"# TYPE a 5\n", b"# TYPE\n", b"# HELP\n", b"# HELP \n", b"# EOF\n",
    b"# EOF", b"# EOF 1\n", b"# EOF\r\n", b"# UNIT a s\n", b"# UNIT a_s s\n", b"# UNIT a_s \n",
    b"# UNIT s s\n", b"# UNIT a_s\n", b"# UNIT _s s\n", b"# HELP a \xff\n", b"# HELP a \0\n",
    b"# \0\n", b"# TYPE a gauge\r\n", b"# HELP a x\r\n", b'# HELP "a\nb" x\n', b'# HELP "" x\n',
    b'# HELP "a x\n', b'# HELP "a"x\n', b'# TYPE "a"gauge\n', b"# HELP \xc3\xa9 x\n",
    b"# TYPEa b\n",
    b"# HELP 1 5\n", b"#\tHELP 7\n", b"# HELP a # HELP 5\n", b'# HELP "\xff" x\n', b"# \xff\n",
    b'# TYPE "a\\"b" gauge\n', b"# HELP", b"# free", b"# HELP a x", b"# TYPE a gauge",
]  # fmt: skip
_SOUP = [
    *_ODD_NAMES, *_ODD_LABELS, *_ODD_VALUES, b"a", b"{", b"}", b'"', b"=", b" ", b"\t", b"\n", b"1",
    b'x="y"', b"# HELP ", b"# TYPE ", b"# EOF", b" 1\n", b"#", b"\\", b"\xef\xbb\xbf", b"\xc2\xa0",
]  # fmt: skip


def _mostly(plain: list[bytes], odd: list[bytes]) -> SearchStrategy[bytes]:
    # Odd once in twenty times, so that many whole bodies are accepted.
    return st.sampled_from([*plain * (1 + 19 * len(odd) // len(plain)), *odd])


@st.composite
def _samples(draw: st.DrawFn, fmt: Format) -> bytes:
    gap = _mostly([b""], _GAPS)
    name = draw(_mostly(_NAMES, _ODD_NAMES))
    labels = draw(
        st.lists(
            st.tuples(_mostly(_LABELS, _ODD_LABELS), _mostly(_VALUES, _ODD_VALUES)),
            max_size=3,
            unique_by=None if draw(st.integers(0, 9)) == 0 else lambda pair: pair[0],
        )
    )
    equal, comma = _mostly([b'="'], [b' = "', b'"', b"=", b'=\t"']), _mostly([b","], _GAPS)
    items = [label + draw(equal) + value + b'"' for label, value in labels]
    if draw(st.integers(0, 9)) == 0:
        position = draw(st.integers(0, len(items)))
        items.insert(position, draw(st.sampled_from([b'"q r"', b'"\xc3\xa9"', b'"a"', b'"\xff"'])))
        name = draw(st.sampled_from([b"", b"", b"", name]))
    gaps = [draw(gap), *[draw(comma) for _ in items]]
    block = b"".join(gap_ + item for gap_, item in zip(gaps, items, strict=False))
    has_block = draw(st.sampled_from([True, False]))
    if items or has_block:
        name += draw(gap) + b"{" + block + draw(_mostly([b"", b","], _GAPS)) + b"}"
    value = draw(_mostly([b" "], _GAPS)) + draw(_mostly(_NUMBERS, _ODD_NUMBERS))
    stamp = draw(_mostly(_STAMPS[: 5 if fmt is Format.TEXT else 6], _ODD_STAMPS))
    rare = st.sampled_from(
        [b""] * (60 if fmt is Format.TEXT else 5) + _EXEMPLARS + _ODD_EXEMPLARS[:1]
    )
    exemplar = draw(rare)
    if exemplar == _ODD_EXEMPLARS[0]:
        exemplar = draw(st.sampled_from(_ODD_EXEMPLARS))
    return name + value + stamp + exemplar + draw(_mostly([b"\n"], _ENDS))


def lines(fmt: Format) -> SearchStrategy[bytes]:
    """A sample or comment, often odd."""
    soup = st.lists(st.sampled_from(_SOUP), max_size=8).map(b"".join)
    comments = _mostly(_COMMENTS, _ODD_COMMENTS)
    return st.integers(0, 29).flatmap(
        lambda n: soup if n == 0 else comments if n < 9 else _samples(fmt)
    )


def bodies(fmt: Format, *, max_lines: int = 6) -> SearchStrategy[bytes]:
    """Whole bodies; about half of them are accepted."""
    end = (
        st.just(b"") if fmt is Format.TEXT else _mostly([b"# EOF\n", b"# EOF"], [b"", b"# EOF\n\n"])
    )
    return st.builds(
        lambda parts, end: b"".join(parts) + end, st.lists(lines(fmt), max_size=max_lines), end
    )


@st.composite
def regular_bodies(draw: st.DrawFn, fmt: Format = Format.TEXT, *, targets: int = 1) -> list[bytes]:
    """Well-formed families, as client libraries write them; one body for each target.

    Targets may share families, but never series.
    """
    written = [b""] * targets
    for index in range(targets):
        families = draw(st.lists(st.sampled_from(range(6)), unique=True, max_size=6))
        written[index] = b"".join(_family(draw, number, index) for number in families)
    return [text + (b"# EOF\n" if fmt is Format.OPENMETRICS else b"") for text in written]


_KINDS = [b"gauge", b"counter", b"histogram", b"summary"]


def _family(draw: st.DrawFn, number: int, target: int) -> bytes:
    name = b"family_%d" % number
    kind = draw(st.sampled_from(_KINDS))
    value = st.text(max_size=5).map(
        lambda text: (
            text.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        )
    )
    text = b"# HELP %b About it.\n# TYPE %b %b\n" % (name, name, kind)
    for row in range(draw(st.integers(1, 3))):
        own = b'target="%d",row="%d",v="%b"' % (target, row, draw(value))
        # A strict parser rejects negative counts.
        number_text = draw(st.sampled_from(_NUMBERS[: 1 if kind == b"histogram" else 5]))
        suffixes = {
            b"gauge": [(b"", b"")],
            b"counter": [(b"_total", b"")],
            b"histogram": [(b"_bucket", b',le="+Inf"'), (b"_sum", b""), (b"_count", b"")],
            b"summary": [(b"", b',quantile="0.5"'), (b"_sum", b""), (b"_count", b"")],
        }[kind]
        for suffix, extra in suffixes:
            text += b"%b%b{%b%b} %b\n" % (name, suffix, own, extra, number_text)
    return text

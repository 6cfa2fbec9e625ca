"""Queries to try a PromQL parser with: generated ones, and Prometheus' own."""

import json
import re
import subprocess
from pathlib import Path

from hypothesis import strategies as st

from tests.real_parts.oracle import ORACLE_MODULE

TYPE_ERRORS = re.compile(
    r"expected type|expected \d|expected at (?:least|most)|expected label selectors|only allowed|"
    r"not allowed in binary|no grouping allowed|must use BOOL|must not occur in ON|bool modifier|"
    r"set operations must|not allowed for set|error parsing (?:number|regexp)|many-to-many|"
    r"must have a valid|must contain only|duration out of range|"
    r"unexpected colon before"
)
"""Errors, mostly of types, that Prometheus's parser reports and ours leaves to it."""

_NAMES = st.sampled_from(["up", "a:b", "sum", "by", "offset", "http_total", "start", "fill", "and"])
_LABELS = st.sampled_from(["job", "by", "__name__", '"x.y"', "sum", "without", "inf", "on"])
_STRINGS = st.sampled_from(
    ['"a"', "'b.*'", "`c\\d`", '""', '"\\n\\""', '"\\x41"', '"\\u00e9"', '"é{}"', "'\\''"]
)
_DURATIONS = st.sampled_from(
    ["5m", "1h30m", "300", "1y", "0s", "(5m)", "-5m", "step()", "5m + 1m", "2 * 3m", "-(1m)",
     "max_of(1m, 2)", "(1m) * 2", "--3", "0x1f", "1_0", "2 ^ 3 ^ 1"]
)  # fmt: skip
_NUMBERS = st.sampled_from(["1", "0.5", ".5", "1e3", "Inf", "nan", "0x1f", "017", "1_000", "5m"])
_OPERATORS = st.sampled_from(
    ["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", ">=", "</", ">/", "and", "or",
     "unless", "AND", "Or"]
)  # fmt: skip
_ONE = st.sampled_from(
    ["abs", "ceil", "sort", "scalar", "vector", "timestamp", "absent", "day_of_month", "rate",
     "sum_over_time", "absent_over_time", "start", "step", "RATE", "nothing"]
)  # fmt: skip
_AGGREGATORS = st.sampled_from(["sum", "MAX", "count", "group", "stddev"])
_WITH_PARAMETER = st.sampled_from(["topk", "quantile", "count_values", "limitk"])
_MATCHINGS = st.sampled_from(
    ["", "", "", "bool", "on(job)", "ignoring(a, b,)", "on() group_left", "on(a) group_right(b)",
     "ignoring(a) group_left('b c')", "bool on(job) group_left()", "fill(0)", "on(a) fill_left(-1)",
     "fill_right(1) fill_left(2)", "group_left(a)"]
)  # fmt: skip
_GROUPINGS = st.sampled_from(
    ["", "by (job)", "without ()", "by (sum, 'x.y')", "BY(a,)", "by ()", "by (without)"]
)
_MODIFIERS = st.sampled_from(
    ["", "", "", "", "offset 5m", "offset -1h", "@ 10", "@ start()", "@ -1.5 offset 3",
     "offset 3m @ end()", "anchored", "smoothed", "offset 0s", "offset (1m) + 2", "@ 1e30",
     "offset 1m offset 2m", "@ 1 @ 2", "anchored smoothed", "OFFSET step()", "offset --1"]
)  # fmt: skip
_GAPS = st.sampled_from([" ", " ", " ", "\n", " # by\n", "\t"])


def _braces() -> st.SearchStrategy[str]:
    op = st.sampled_from(["=", "!=", "=~", "!~"])
    matcher = st.one_of(st.builds("{}{}{}".format, _LABELS, op, _STRINGS), _STRINGS)
    return st.lists(matcher, max_size=3).map(lambda found: "{" + ",".join(found) + "}")


_SELECTORS = st.one_of(_NAMES, st.builds("{}{}".format, _NAMES, _braces()), _braces())
_RANGES = st.builds("{}[{}] {}".format, _SELECTORS, _DURATIONS, _MODIFIERS)
_LEAVES = st.one_of(
    st.builds("{} {}".format, _SELECTORS, _MODIFIERS), _RANGES, _NUMBERS, _STRINGS, _SELECTORS
)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{} {} {}{}{}".format, inner, _OPERATORS, _MATCHINGS, _GAPS, inner),
        st.builds("({}) {}".format, inner, _MODIFIERS),
        st.builds("-{}".format, inner),
        st.builds("+ {}".format, inner),
        st.builds("{}({})".format, _ONE, inner),
        st.builds("{}({}, {})".format, _ONE, inner, inner),
        st.builds("{} {} ({})".format, _AGGREGATORS, _GROUPINGS, inner),
        st.builds("{}({}) {}".format, _AGGREGATORS, inner, _GROUPINGS),
        st.builds("{} {} ({}, {})".format, _WITH_PARAMETER, _GROUPINGS, inner, inner),
        st.builds("{}[{}:{}] {}".format, inner, _DURATIONS, st.one_of(st.just(""), _DURATIONS),
                  _MODIFIERS),
    )  # fmt: skip


QUERIES = st.recursive(_LEAVES, _nested, max_leaves=6)
"""Texts, about half of which are valid PromQL."""

_GO_STRING = re.compile(
    r'(?:input|in|expr|out|expected):?\s*[:=]?\s*(?:"((?:[^"\\\n]|\\.)*)"|`([^`]*)`)'
)
_EVAL = re.compile(
    r"^\s*eval(?:_\w+)? (?:instant(?: at \S+)?|range from \S+ to \S+ step \S+) (.*)", re.MULTILINE
)


def prometheus_own() -> list[str]:
    """Return the texts that Prometheus' own tests parse, valid or not: about 2,500."""
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus"]
    ran = subprocess.run(listed, cwd=ORACLE_MODULE, capture_output=True, text=True, check=True)
    module = Path(ran.stdout.strip())
    found: set[str] = set()
    for name in ("parse_test.go", "printer_test.go", "prettier_test.go", "lex_test.go"):
        text = (module / "promql/parser" / name).read_text()
        for quoted, raw in _GO_STRING.findall(text):
            found.add(raw or _unquoted(quoted))
    for path in (module / "promql/promqltest/testdata").glob("*.test"):
        found.update(_EVAL.findall(path.read_text()))
    return sorted(found)


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(f'"{quoted}"'))
    except ValueError:  # a Go escape that JSON does not have
        return ""

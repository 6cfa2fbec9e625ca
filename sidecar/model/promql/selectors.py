"""MetricAccess patterns: a metric name, a regular expression on the name, or a selector.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/#time-series-selectors
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from sidecar.errors import QueryError, RuleError
from sidecar.model.promql.matchers import NAME, Condition, Matcher, MatchOp, make_matcher

MAX_SELECTOR_LENGTH = 4096
MAX_MATCHERS = 64


class PatternKind(StrEnum):
    """How a MetricAccess pattern is interpreted."""

    EXACT = "exact"
    """A plain metric name."""
    REGEX = "regex"
    """An anchored regular expression on the metric name."""
    SELECTOR = "selector"
    """A PromQL series selector."""


class Pattern(NamedTuple):
    """One parsed pattern; `note` says what was not read literally, or is empty."""

    text: str
    kind: PatternKind
    matchers: tuple[Matcher, ...]
    note: str = ""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the pattern matches a series, whose labels include `__name__`."""
        return all(matcher.matches(labels.get(matcher.name, "")) for matcher in self.matchers)


_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_ANY = (".*", ".+")


def parse_pattern(text: str) -> Pattern:
    """Parse a pattern: plain name, regular expression on the name, or selector.

    In a selector, `=".*"` and `=".+"` are read as `=~`: published examples use them, and nobody
    means a label value of exactly those two characters.

    Raises:
        RuleError: the pattern is empty, too long or malformed; it then grants nothing.
    """
    if not text.strip():
        raise RuleError("", "the pattern is empty")
    if "{" not in text or _is_regex_with_braces(text):
        if _PLAIN_NAME.fullmatch(text):
            return Pattern(text, PatternKind.EXACT, (make_matcher(MatchOp.EQUAL, NAME, text),))
        return Pattern(text, PatternKind.REGEX, (make_matcher(MatchOp.REGEX, NAME, text),))
    matchers, notes = [], []
    for matcher in parse_selector(text):
        if matcher.op is MatchOp.EQUAL and matcher.value in _ANY:
            notes.append(f'{matcher.name}="{matcher.value}" is read as =~')
            matchers.append(make_matcher(MatchOp.REGEX, matcher.name, matcher.value))
        else:
            matchers.append(matcher)
    return Pattern(text, PatternKind.SELECTOR, tuple(matchers), "; ".join(notes))


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Parse one series selector; the metric name becomes a matcher on `__name__`.

    Raises:
        RuleError: it is malformed; the message says where.
    """
    if len(text) > MAX_SELECTOR_LENGTH:
        raise RuleError("", f"{len(text)} characters; a selector may have {MAX_SELECTOR_LENGTH}")
    conditions = _read(text)
    if len(conditions) > MAX_MATCHERS:
        raise RuleError("", f"more than {MAX_MATCHERS} matchers")
    for name, _, value in conditions:
        if any("\ud800" <= char < "\ue000" for char in name + value):
            raise RuleError("", f"{value[:40]!a} contains bytes that are not valid UTF-8")
    return tuple(condition.compile() for condition in conditions)


def _read(text: str) -> tuple[Condition, ...]:
    # Imported on first use: a proxy whose rules have no selectors does not load the PromQL lexer.
    from sidecar.model.promql.braces import read_selector
    from sidecar.model.promql.cursor import Cursor

    try:
        cursor = Cursor(text)
        conditions = read_selector(cursor).conditions
        if cursor.kind() != "eof":
            cursor.fail_unexpected()
    except QueryError as error:
        near = text[max(0, error.position - 10) : error.position + 20]
        raise RuleError("", f"{error.reason}, near {near!r}") from None
    return conditions


def _is_regex_with_braces(text: str) -> bool:
    # `http_.{3}` is a regular expression: no selector has only digits inside the braces.
    return all(re.fullmatch(r"\d+,?\d*", part) for part in re.findall(r"\{([^{}]*)\}?", text))

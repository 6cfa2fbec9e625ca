"""PromQL series selectors and the patterns of MetricAccess objects.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/#time-series-selectors
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, NoReturn

from sidecar.errors import RuleError, show
from sidecar.model.labels.regex import Regex, compile_matcher_regex

MAX_SELECTOR_LENGTH = 4096
MAX_MATCHERS = 64


class MatchOp(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    """The value is exactly this."""
    NOT_EQUAL = "!="
    """The value is anything else."""
    REGEX = "=~"
    """The whole value matches the pattern."""
    NOT_REGEX = "!~"
    """The whole value does not match."""


class Matcher(NamedTuple):
    """One condition on one label; a missing label has the value `""`."""

    op: MatchOp
    name: str
    value: str
    regex: Regex | None = None

    def matches(self, value: str) -> bool:
        """Tell whether a label's value fulfils it."""
        if self.regex is None:
            return (value == self.value) is (self.op is MatchOp.EQUAL)
        return self.regex.matches(value) is (self.op is MatchOp.REGEX)


class PatternKind(StrEnum):
    """How a pattern of a MetricAccess object is read."""

    EXACT = "exact"
    """A plain metric name."""
    REGEX = "regex"
    """An anchored regular expression on the metric name."""
    SELECTOR = "selector"
    """A PromQL series selector."""


class Pattern(NamedTuple):
    """One parsed pattern; `note` says what was read otherwise than written, or is empty."""

    text: str
    kind: PatternKind
    matchers: tuple[Matcher, ...]
    note: str = ""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a series, `__name__` among its labels, is meant."""
        return all(matcher.matches(labels.get(matcher.name, "")) for matcher in self.matchers)


_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_ANY = (".*", ".+")
# Numbers and those words that PromQL's grammar does not let stand as a bare metric name.
_NOT_METRICS = frozenset(
    ["inf", "nan", "on", "ignoring", "group_left", "group_right", "bool", "atan2"]
)
_TOKEN = re.compile(
    r"""(?:[ \t\r\n]|\#[^\n]*+)*+(?:
        (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*+)
      | (?P<op>=~|!~|!=|=)
      | (?P<mark>[{},])
      | (?P<string>"(?:[^"\\\n]|\\[^\n])*+" | '(?:[^'\\\n]|\\[^\n])*+' | `[^`]*+`)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_GO_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))"
)
_SIMPLE_ESCAPES = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def make_matcher(op: MatchOp, name: str, value: str) -> Matcher:
    """Build a matcher.

    Raises:
        RuleError: the value of a regex matcher is not RE2.
    """
    is_regex = op in (MatchOp.REGEX, MatchOp.NOT_REGEX)
    return Matcher(op, name, value, compile_matcher_regex(value) if is_regex else None)


def parse_pattern(text: str) -> Pattern:
    """Read a pattern: plain name, regular expression on the name, or selector.

    In a selector `=".*"` and `=".+"` are read as `=~`: nobody means a label whose value is those
    two characters, and published examples are written so.

    Raises:
        RuleError: the pattern is empty, too long or malformed; it then grants nothing.
    """
    if not text.strip():
        raise RuleError("", "an empty pattern")
    if "{" not in text or _is_regex_with_braces(text):
        if _PLAIN_NAME.fullmatch(text):
            return Pattern(
                text, PatternKind.EXACT, (make_matcher(MatchOp.EQUAL, "__name__", text),)
            )
        return Pattern(text, PatternKind.REGEX, (make_matcher(MatchOp.REGEX, "__name__", text),))
    matchers, notes = [], []
    for matcher in parse_selector(text):
        if matcher.op is MatchOp.EQUAL and matcher.value in _ANY:
            notes.append(f'{matcher.name}="{matcher.value}" is read as =~')
            matchers.append(make_matcher(MatchOp.REGEX, matcher.name, matcher.value))
        else:
            matchers.append(matcher)
    return Pattern(text, PatternKind.SELECTOR, tuple(matchers), "; ".join(notes))


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Read one series selector, the metric name as a matcher on `__name__`.

    Raises:
        RuleError: it is malformed; the message quotes where.
    """
    if len(text) > MAX_SELECTOR_LENGTH:
        raise RuleError("", f"a selector of {len(text)} characters; {MAX_SELECTOR_LENGTH} allowed")
    return _SelectorReader(text).read()


def _is_regex_with_braces(text: str) -> bool:
    # `http_.{3}` has a brace and is a regular expression: no selector holds digits alone there.
    return all(re.fullmatch(r"\d+,?\d*", part) for part in re.findall(r"\{([^{}]*)\}?", text))


class _SelectorReader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._names: list[Matcher] = []
        self._matchers: list[Matcher] = []

    def read(self) -> tuple[Matcher, ...]:
        kind, value = self._next()
        if kind == "name":
            if value.lower() in _NOT_METRICS:
                self._fail(f"{value!r} means something else to PromQL; write {{{value!r}}}")
            self._set_name(value)
            kind, value = self._next()
        if (kind, value) == ("mark", "{"):
            self._read_block()
            kind, value = self._next()
        elif not self._names:
            self._fail("a metric name or { is needed")
        if kind != "end":
            self._fail("nothing may follow the selector")
        return (*self._names, *self._matchers)

    def _read_block(self) -> None:
        kind, value = self._next()
        while (kind, value) != ("mark", "}"):
            if len(self._names) + len(self._matchers) >= MAX_MATCHERS:
                self._fail(f"more than {MAX_MATCHERS} matchers")
            if kind not in ("name", "string"):
                self._fail("a label name is needed")
            following, sign = self._next()
            if following == "op":
                self._add(kind, value, MatchOp(sign))
                following, sign = self._next()
            elif kind == "string":
                self._set_name(value)
            else:
                self._fail("one of =, !=, =~, !~ is needed behind a label name")
            if (following, sign) == ("mark", ","):
                following, sign = self._next()
            elif (following, sign) != ("mark", "}"):
                self._fail("a comma or } is needed")
            kind, value = following, sign

    def _add(self, kind: str, name: str, op: MatchOp) -> None:
        if kind == "name" and ":" in name:
            self._fail(f"{show(name)} is not a label name")
        following, value = self._next()
        if following != "string":
            self._fail("a quoted value is needed")
        self._matchers.append(make_matcher(op, name, value))

    def _set_name(self, name: str) -> None:
        self._names.append(make_matcher(MatchOp.EQUAL, "__name__", name))

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._position)
        if match is None or match.lastgroup is None:
            self._fail("an unknown sign or an unclosed quote")
        self._position = match.end()
        value = match[match.lastgroup]
        return match.lastgroup, _unquote(value) if match.lastgroup == "string" else value

    def _fail(self, reason: str) -> NoReturn:
        near = self._text[max(0, self._position - 10) : self._position + 20]
        raise RuleError("", f"{reason}, near {near!r}")


def _unquote(literal: str) -> str:
    if literal[0] == "`":
        return literal[1:-1]
    other_quote = "'" if literal[0] == '"' else '"'
    if any(match[1] == other_quote for match in _GO_ESCAPE.finditer(literal)):
        raise RuleError("", f"{literal[:40]} holds a bad escape")
    try:
        # \x and octal escapes name bytes of UTF-8, as in Go.
        escaped = _GO_ESCAPE.sub(_unescape, literal[1:-1])
        return escaped.encode("utf-8", "surrogateescape").decode()
    except (UnicodeError, ValueError, OverflowError):
        raise RuleError("", f"{literal[:40]} holds a bad escape") from None


def _unescape(match: re.Match[str]) -> str:
    simple, octal, byte, short, long, other = match.groups()
    if other is not None:
        raise ValueError(other)
    if simple is not None:
        return _SIMPLE_ESCAPES[simple]
    if octal is not None or byte is not None:
        number = int(octal, 8) if octal is not None else int(byte, 16)
        return bytes([number]).decode("utf-8", "surrogateescape")
    return chr(int(short or long, 16))

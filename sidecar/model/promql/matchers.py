"""PromQL label conditions, and the compiled matchers that evaluate them."""

from enum import StrEnum
from typing import NamedTuple

from sidecar.model.labels.regex import Regex, compile_matcher_regex

NAME = "__name__"
"""The label that holds the metric name."""


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
    """One condition on one label, compiled; a missing label has the value `""`."""

    op: MatchOp
    name: str
    value: str
    regex: Regex | None = None

    def matches(self, value: str) -> bool:
        """Return whether a label's value satisfies the condition."""
        if self.regex is None:
            return (value == self.value) is (self.op is MatchOp.EQUAL)
        return self.regex.matches(value) is (self.op is MatchOp.REGEX)


class Condition(NamedTuple):
    """One condition on one label, as written."""

    name: str
    op: str
    """One of `=`, `!=`, `=~`, `!~`."""
    value: str

    def compile(self) -> Matcher:
        """Return the compiled matcher.

        Raises:
            RuleError: the value of a regex matcher is not valid RE2.
        """
        return make_matcher(MatchOp(self.op), self.name, self.value)


def make_matcher(op: MatchOp, name: str, value: str) -> Matcher:
    """Build a matcher.

    Raises:
        RuleError: the value of a regex matcher is not valid RE2.
    """
    is_regex = op in (MatchOp.REGEX, MatchOp.NOT_REGEX)
    return Matcher(op, name, value, compile_matcher_regex(value) if is_regex else None)

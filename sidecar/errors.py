"""The sidecar's errors.

LiveryError               any; its text says what, where, and what to do
  SettingsError           a bad argument or variable; names it and its value
  ExpositionError         a target's text is not valid; has the line
    LimitError            a target or client asked for more than a bound allows
      LateError           reading took longer than the scrape may last
  RuleError               a relabel rule or pattern is wrong; has the field
  QueryError              a PromQL query or selector cannot be read; has the position
  QueryRefusedError       a query that the tenant's rules do not let through as it stands
  PolicyError             a policy cannot be used
  PodsError               a kubelet's list of pods cannot be read
  DocumentError           a file is neither YAML nor JSON
  TargetError             a target's address is not one that may be scraped
  UpstreamError           a server did not answer as it must
    UpstreamTimeoutError  it did not answer in time
"""

import reprlib

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring = 2, 120


def show(value: object) -> str:
    """Write a value of somebody else's into an error, its size bounded."""
    return _REPR.repr(value)


MAX_FIELD_CHARACTERS = 200


class LiveryError(Exception):
    """Anything Livery reports to a person."""


class SettingsError(LiveryError):
    """A command line argument or variable is wrong; nothing was started with it."""


class ExpositionError(LiveryError):
    """An exposition is not what Prometheus accepts.

    Attributes:
        line: number of the offending line, from 1; 0 where the whole body is meant.
        reason: one clause, without the line.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


class LimitError(ExpositionError):
    """A bound was passed: the message names the bound and its value."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, reason)


class LateError(LimitError):
    """Reading took longer than the scrape may last; answered to clients as 504."""


class RuleError(LiveryError):
    """A rule, pattern or selector is wrong.

    Attributes:
        field: path of the field, such as `metricRelabelings[2].regex`.
        reason: one clause, without the field.
    """

    def __init__(self, field: str, reason: str) -> None:
        if len(field) > MAX_FIELD_CHARACTERS:  # it names keys, which may be of any length
            field = f"{field[: MAX_FIELD_CHARACTERS - 1]}…"
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class QueryError(LiveryError):
    """PromQL that cannot be read.

    Attributes:
        reason: one clause, as Prometheus words it.
        position: the character at which it goes wrong, from 0.
    """

    def __init__(self, reason: str, position: int = 0, place: str = "") -> None:
        super().__init__(f"{place}{reason}")
        self.reason = reason
        self.position = position

    def in_query(self, query: str) -> "QueryError":
        """Return the same error with line and column, which counts bytes, before its reason."""
        before = query[: self.position]
        column = len(before[before.rfind("\n") + 1 :].encode("utf-8", "surrogatepass")) + 1
        place = f"{before.count(chr(10)) + 1}:{column}: parse error: "
        return QueryError(self.reason, self.position, place)


class QueryRefusedError(LiveryError):
    """A query that cannot be answered within a tenant's rules; its text says what to change."""


class PolicyError(LiveryError):
    """A policy cannot be read, or was made for a newer proxy; the last good one stays."""


class PodsError(LiveryError):
    """What a kubelet tells of its pods is not a PodList; says where."""


class DocumentError(LiveryError):
    """A file cannot be read, or is neither YAML nor JSON; names it."""


class TargetError(LiveryError):
    """A target is not of the form that the proxy may scrape."""


class UpstreamError(LiveryError):
    """A server refused, broke off, or answered what it must not; answered to clients as 502."""


class UpstreamTimeoutError(UpstreamError):
    """A server did not answer within its deadline; answered to clients as 504."""

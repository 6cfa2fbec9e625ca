"""The sidecar's errors.

LiveryError               base class; the message says what is wrong, where, and what to do
  SettingsError           invalid argument or environment variable; names it and its value
  ExpositionError         invalid exposition of a target; has the line number
    LimitError            a target or client exceeded a limit
      LateError           reading took longer than the scrape timeout
  RuleError               invalid relabel rule or pattern; has the field
  QueryError              a PromQL query or selector cannot be parsed; has the position
  QueryRefusedError       the tenant's access rules do not permit the query as written
  PolicyError             a policy cannot be used
  PodsError               a kubelet's pod list cannot be read
  DocumentError           a file cannot be read, or is neither YAML nor JSON
  TargetError             a target's address is malformed or not allowed
  UpstreamError           a server refused, disconnected or sent an invalid response
    UpstreamTimeoutError  a server did not answer in time
"""

import reprlib

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring = 2, 120


def show(value: object) -> str:
    """Return a bounded `repr` of an untrusted value, for error messages."""
    return _REPR.repr(value)


MAX_FIELD_CHARACTERS = 200


class LiveryError(Exception):
    """Base class of all errors that Livery reports to users."""


class SettingsError(LiveryError):
    """A command-line argument or environment variable is invalid; nothing was started."""


class ExpositionError(LiveryError):
    """An exposition is invalid.

    Attributes:
        line: number of the offending line, from 1; 0 if the error concerns the whole body.
        reason: the problem in one clause, without the line.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


class LimitError(ExpositionError):
    """A limit was exceeded; the message names the limit and its value."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, reason)


class LateError(LimitError):
    """Reading took longer than the scrape timeout; clients get a 504."""


class RuleError(LiveryError):
    """A rule, pattern or selector is invalid.

    Attributes:
        field: path of the field, such as `metricRelabelings[2].regex`.
        reason: the problem in one clause, without the field.
    """

    def __init__(self, field: str, reason: str) -> None:
        if len(field) > MAX_FIELD_CHARACTERS:  # it contains keys, which may be long
            field = f"{field[: MAX_FIELD_CHARACTERS - 1]}…"
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class QueryError(LiveryError):
    """A PromQL query or selector cannot be parsed.

    Attributes:
        reason: the problem in one clause, as Prometheus words it.
        position: index of the offending character, from 0.
    """

    def __init__(self, reason: str, position: int = 0, place: str = "") -> None:
        super().__init__(f"{place}{reason}")
        self.reason = reason
        self.position = position

    def in_query(self, query: str) -> "QueryError":
        """Return the same error, prefixed with its line and column; columns count bytes."""
        before = query[: self.position]
        column = len(before[before.rfind("\n") + 1 :].encode("utf-8", "surrogatepass")) + 1
        place = f"{before.count(chr(10)) + 1}:{column}: parse error: "
        return QueryError(self.reason, self.position, place)


class QueryRefusedError(LiveryError):
    """The tenant's access rules do not permit a query; the message says what to change."""


class PolicyError(LiveryError):
    """A policy cannot be read or needs a newer proxy; the last good one stays active."""


class PodsError(LiveryError):
    """A kubelet's pod list is not a valid PodList; the message says where."""


class DocumentError(LiveryError):
    """A file cannot be read, or is neither YAML nor JSON; the message names the file."""


class TargetError(LiveryError):
    """A target is malformed, or the proxy must not scrape it."""


class UpstreamError(LiveryError):
    """A server refused, disconnected or sent an invalid response; clients get a 502."""


class UpstreamTimeoutError(UpstreamError):
    """A server did not answer within its deadline; clients get a 504."""

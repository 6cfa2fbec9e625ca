r"""Regular expressions by RE2: tenants' patterns run in linear time, by Prometheus's own rules.

Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#regex (RE2,
anchored at both ends; from 3.0 the dot matches newlines) and Go's `regexp.Expand` for templates.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, cast

from sidecar.errors import LimitError, RuleError, show

# Valid in RE2 but not in Go: `\C` for one byte, and group names beyond ASCII.
_GO = re.compile(
    r"(?s:[^\\(]|\\Q.*?(?:\\E|\Z)|\\(?:[^CQ]|\Z)|\((?!\?P?<[A-Za-z0-9_]*+[^\x00-\x7f]))*+"
)

MAX_PATTERN_LENGTH = 4096
"""Maximum characters of a pattern; Prometheus has no limit, objects in a cluster need one."""
MAX_EXPANDED_LENGTH = 64 << 10
"""Maximum characters of an expanded template: `$1$1` doubles a value at each rule."""
_MAX_MEMORY_BYTES = 256 << 10
_MAX_REMEMBERED_NAMES = 32
_MAX_REMEMBERED_LENGTH = 128


class Match(Protocol):
    """The part of a match's interface that is used."""

    def group(self, group: int | str, /) -> str | None:
        """The text of a group; None if it did not participate in the match."""

    def start(self) -> int:
        """Where the match begins."""

    def end(self) -> int:
        """Where the match ends."""


class Regex:
    """A compiled pattern, anchored as in Prometheus."""

    __slots__ = (
        "_compiled", "_last_answer", "_last_match", "_names_answers", "groups", "names", "pattern",
    )  # fmt: skip

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled = _compile(f"^(?s:{pattern})$")
        self.groups: int = self._compiled.groups
        self.names: dict[str, int] = dict(self._compiled.groupindex)
        # A family's series are consecutive and all have the same few label names, so most texts
        # have just been matched.
        self._last_answer = ("", self._compiled.search("") is not None)
        self._last_match: tuple[str, Match | None] = ("", self._compiled.search(""))
        self._names_answers: dict[str, bool] = {}

    def matches(self, text: str) -> bool:
        """Return whether the whole text matches."""
        last, answer = self._last_answer
        if text != last:
            # Labels in Prometheus are always valid UTF-8.
            answer = _is_utf8(text) and self._compiled.search(text) is not None
            if len(text) <= _MAX_REMEMBERED_LENGTH:
                self._last_answer = (text, answer)
        return answer

    def matches_name(self, name: str) -> bool:
        """Return whether a whole label name matches; like `matches`, but caches several names."""
        answer = self._names_answers.get(name)
        if answer is None:
            answer = self._compiled.search(name) is not None
            if len(name) <= _MAX_REMEMBERED_LENGTH:
                if len(self._names_answers) >= _MAX_REMEMBERED_NAMES:
                    self._names_answers = {}
                self._names_answers[name] = answer
        return answer

    def find(self, text: str) -> Match | None:
        """Return the match of the whole text, or None."""
        last, match = self._last_match
        if text != last:
            match = cast("Match | None", self._compiled.search(text))
            if len(text) <= _MAX_REMEMBERED_LENGTH:
                self._last_match = (text, match)
        return match

    def replace_all(self, text: str, template: str) -> str:
        """Replace every match with the expanded template (Go's `ReplaceAllString`)."""
        parts, position = [], 0
        for match in self._compiled.finditer(text):
            parts += [text[position : match.start()], expand(template, match, self)]
            position = match.end()
        return "".join([*parts, text[position:]])


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Regex:
    """Compile a pattern.

    Raises:
        RuleError: it is not valid RE2, or longer than `MAX_PATTERN_LENGTH`; has no field.
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise RuleError("", f"a pattern of {len(pattern)} characters; {MAX_PATTERN_LENGTH} allowed")
    if _GO.fullmatch(pattern) is None or not _is_utf8(pattern):
        raise RuleError("", f"{show(pattern)} is not a valid RE2 pattern for Go")
    return Regex(pattern)


@lru_cache(maxsize=1024)
def compile_matcher_regex(pattern: str) -> Regex:
    """Compile the pattern of a matcher, which Prometheus also parses without the anchors.

    Raises:
        RuleError: it is not valid RE2 by itself: `a)|(b` is valid only with the anchors' group.
    """
    regex = compile_regex(pattern)
    _compile(pattern)
    return regex


def _compile(pattern: str) -> Any:
    # Imported at the first pattern: it takes 2.5 MB, which a proxy without rules saves.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a valid pattern"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        shown = pattern.removeprefix("^(?s:").removesuffix(")$")
        raise RuleError("", f"{show(shown)} is not a valid RE2 pattern: {text}") from error


def _is_utf8(text: str) -> bool:
    # JSON may contain half of a surrogate pair.
    return not any("\ud800" <= char <= "\udfff" for char in text)


def expand(template: str, match: Match, regex: Regex) -> str:
    """Expand a template's `$1`, `${1}`, `$name`, `${name}` and `$$` as Go's `regexp.Expand` does.

    A reference takes the longest run of letters, digits and underscores, so `$1_x` is the group
    named `1_x`. Text that is not a reference stays as written; an unknown group is empty.

    Raises:
        LimitError: the result is too long.
    """
    parts: list[str] = []
    position = size = 0
    while (dollar := template.find("$", position)) >= 0:
        parts.append(template[position:dollar])
        if template.startswith("$", dollar + 1):
            parts.append("$")
            position = dollar + 2
            continue
        name, end = _reference(template, dollar + 1)
        if name:
            parts.append(_group(name, match, regex))
            position = end
            size += len(parts[-1])
            if size > MAX_EXPANDED_LENGTH:
                raise LimitError(f"a relabel rule expands to over {MAX_EXPANDED_LENGTH} characters")
        else:
            parts.append("$")
            position = dollar + 1
    return "".join([*parts, template[position:]])


def _reference(template: str, start: int) -> tuple[str, int]:
    braced = template.startswith("{", start)
    begin = start + braced
    end = begin
    while end < len(template) and _is_word(template[end]):
        end += 1
    if braced:
        if not template.startswith("}", end):
            return "", start
        return template[begin:end], end + 1
    return template[begin:end], end


# Go's unicode.IsLetter and unicode.IsDigit: categories L* and Nd.
_is_letter: Callable[[str], bool] = str.isalpha
_is_digit: Callable[[str], bool] = str.isdecimal


def _is_word(char: str) -> bool:
    return char == "_" or _is_letter(char) or _is_digit(char)


def _group(name: str, match: Match, regex: Regex) -> str:
    if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and len(name) < 9:
        index = int(name)
    else:
        index = regex.names.get(name, -1)
    if not 0 <= index <= regex.groups:
        return ""
    return match.group(index) or ""

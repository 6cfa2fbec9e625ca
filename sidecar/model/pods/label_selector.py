"""Kubernetes label selectors in the form of command lines: `app=web,tier in (a,b),!old`.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
and k8s.io/apimachinery/pkg/labels
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from sidecar.errors import SettingsError

MAX_CHARACTERS = 16 << 10
_TOKEN = re.compile(r"\s*(?P<token>==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
)
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class Operator(StrEnum):
    """What a requirement demands of a label."""

    IN = "in"
    """It has one of the values."""
    NOT_IN = "notin"
    """It has none of the values, or is absent."""
    EXISTS = "exists"
    """It is present."""
    ABSENT = "!"
    """It is absent."""
    GREATER = "gt"
    """It is a whole number above the value."""
    LESS = "lt"
    """It is a whole number below the value."""


class Requirement(NamedTuple):
    """One part of a selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def is_met_by(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels satisfy it."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.ABSENT:
                return value is None
            case Operator.GREATER | Operator.LESS:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or _NUMBER.fullmatch(value) is None:
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator is Operator.GREATER else int(value) < bound


class LabelSelector(NamedTuple):
    """Requirements that must all be met; without any, everything matches."""

    text: str
    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels satisfy every requirement."""
        return all(item.is_met_by(labels) for item in self.requirements)


def parse_label_selector(text: str) -> LabelSelector:
    """Read a selector; an empty one matches everything.

    Raises:
        SettingsError: it is malformed; names the character, from 1.
    """
    if len(text) > MAX_CHARACTERS:
        raise SettingsError(f"label selector: more than {MAX_CHARACTERS} characters")
    return LabelSelector(text.strip(), tuple(_Reader(text).requirements()))


class _Token(NamedTuple):
    text: str
    at: int
    """Position of its first character, from 1."""


class _Reader:
    """Reads a selector token by token."""

    def __init__(self, text: str) -> None:
        self._tokens = _divide(text)
        self._next = next(self._tokens)

    def requirements(self) -> Iterator[Requirement]:
        if not self._next.text:
            return
        while True:
            yield self._requirement()
            token = self._take()
            if not token.text:
                return
            if token.text != ",":
                raise _wrong(token, "a comma or the end")

    def _requirement(self) -> Requirement:
        if self._next.text == "!":
            self._take()
            return Requirement(self._key(), Operator.ABSENT)
        key = self._key()
        operator = self._next
        if operator.text in ("", ","):
            return Requirement(key, Operator.EXISTS)
        self._take()
        match operator.text:
            case "=" | "==":
                return Requirement(key, Operator.IN, frozenset([self._value()]))
            case "!=":
                return Requirement(key, Operator.NOT_IN, frozenset([self._value()]))
            case "in" | "notin":
                return Requirement(key, Operator(operator.text), self._values())
            case ">" | "<":
                kind = Operator.GREATER if operator.text == ">" else Operator.LESS
                return Requirement(key, kind, frozenset([self._number()]))
            case _:
                raise _wrong(operator, "=, ==, !=, in, notin, > or <")

    def _key(self) -> str:
        token = self._take()
        prefix, slash, name = token.text.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
            raise _wrong(token, "a label's key")
        return token.text

    def _value(self) -> str:
        if self._next.text in ("", ","):
            return ""  # as in `key=`, which requires an empty value
        return _checked(self._take())

    def _number(self) -> str:
        token = self._take()
        if _NUMBER.fullmatch(token.text) is None:
            raise _wrong(token, "a whole number")
        return token.text

    def _values(self) -> frozenset[str]:
        token = self._take()
        if token.text != "(":
            raise _wrong(token, "(")
        values: list[str] = []
        while True:
            is_empty = self._next.text in (",", ")")
            values.append("" if is_empty else _checked(self._take()))
            token = self._take()
            if token.text == ")":
                return frozenset(values)
            if token.text != ",":
                raise _wrong(token, "a comma or )")

    def _take(self) -> _Token:
        taken = self._next
        self._next = next(self._tokens, taken)
        return taken


def _divide(text: str) -> Iterator[_Token]:
    at = 0
    while match := _TOKEN.match(text, at):
        yield _Token(match["token"], match.start("token") + 1)
        at = match.end()
    yield _Token("", len(text) + 1)


def _checked(token: _Token) -> str:
    if _NAME.fullmatch(token.text) is None:
        raise _wrong(token, "a label's value")
    return token.text


def _wrong(token: _Token, wanted: str) -> SettingsError:
    found = repr(token.text[:60]) if token.text else "the end"
    return SettingsError(f"label selector, character {token.at}: expected {wanted}, found {found}")

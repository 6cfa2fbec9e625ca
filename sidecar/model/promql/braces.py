"""Parses series selectors: a metric name, conditions in braces, or both."""

from typing import NamedTuple

from sidecar.model.promql.cursor import Cursor
from sidecar.model.promql.lexer import KEYWORDS, NOT_METRICS
from sidecar.model.promql.matchers import NAME, Condition

_OPS = frozenset(["=", "!=", "=~", "!~"])


class ReadSelector(NamedTuple):
    """A selector's conditions, those on the metric name first."""

    conditions: tuple[Condition, ...]
    names_outside: bool
    """Whether a metric name precedes the braces."""


def begins_metric(kind: str) -> bool:
    """Return whether a token of this kind can be a metric name; most keywords can."""
    return kind in ("word", "colons") or (kind in KEYWORDS and kind not in NOT_METRICS)


def read_selector(cursor: Cursor) -> ReadSelector:
    """Read a selector.

    Raises:
        QueryError: it is malformed.
    """
    kind, text = cursor.kinds[cursor.at], cursor.texts[cursor.at]
    names: list[Condition] = []
    others: list[Condition] = []
    names_outside = begins_metric(kind)
    if names_outside:
        names.append(Condition(NAME, "=", text))
        kind = cursor.advance()
    elif kind != "{":
        cursor.fail_unexpected()
    if kind == "{":
        cursor.at += 1
        _read_block(cursor, names, others)
    return ReadSelector((*names, *others), names_outside)


def needs_patterns(conditions: tuple[Condition, ...]) -> bool:
    """Return whether only a selector's patterns can keep it from selecting everything."""
    return not any(
        (op == "=" and value) or (op == "!=" and not value) for _, op, value in conditions
    )


def is_empty(conditions: tuple[Condition, ...]) -> bool:
    """Return whether a series without labels matches a selector; Prometheus refuses such ones.

    Raises:
        RuleError: a pattern is not valid RE2.
    """
    return needs_patterns(conditions) and all(
        item.compile().matches("") for item in conditions if len(item.op) > 1
    )


def _read_block(cursor: Cursor, names: list[Condition], others: list[Condition]) -> None:
    kinds = cursor.kinds
    while kinds[cursor.at] != "}":
        found = _read_condition(cursor)
        (names if found.name == NAME else others).append(found)
        kind = kinds[cursor.at]
        if kind == ",":
            cursor.at += 1
        elif kind != "}":
            cursor.fail_unexpected("label matching", '"," or "}"')
    cursor.at += 1


def _read_condition(cursor: Cursor) -> Condition:
    kind, text = cursor.kinds[cursor.at], cursor.texts[cursor.at]
    if kind == "string":
        text = cursor.string()
    elif kind == "word" or kind in KEYWORDS or (kind == "number" and text[0].isalpha()):
        cursor.at += 1
    else:
        cursor.fail_unexpected("label matching", 'identifier or "}"')
    op = cursor.kinds[cursor.at]
    if op in _OPS:
        if cursor.advance() != "string":
            cursor.fail_unexpected("label matching", "string")
        return Condition(text, op, cursor.string())
    if kind != "string":
        cursor.fail_unexpected("label matching", "label matching operator")
    return Condition(NAME, "=", text)

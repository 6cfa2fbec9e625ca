"""Parses label lists and the modifiers that follow a binary operator."""

import json

from sidecar.model.promql.ast import PLAIN, Matching
from sidecar.model.promql.cursor import Cursor
from sidecar.model.promql.lexer import KEYWORDS, NOT_LABELS

_WORDS = frozenset(["bool", "on", "ignoring", "fill", "fill_left", "fill_right"])


def read_labels(cursor: Cursor) -> tuple[str, ...]:
    """Read a label list in parentheses; a trailing comma is allowed.

    Raises:
        QueryError: it is not a list of labels.
    """
    if cursor.kind() != "(":
        cursor.fail_unexpected("grouping opts", '"("')
    found: list[str] = []
    kind = cursor.advance()
    while kind != ")":
        found.append(_read_label(cursor, kind))
        kind = cursor.kinds[cursor.at]
        if kind == ",":
            kind = cursor.advance()
        elif kind != ")":
            cursor.fail_unexpected("grouping opts", '"," or ")"')
    cursor.at += 1
    return tuple(found)


def _read_label(cursor: Cursor, kind: str) -> str:
    if kind == "string":
        text = cursor.string()
        if not text or any("\ud800" <= char < "\ue000" for char in text):
            cursor.fail(f"invalid label name for grouping: {json.dumps(text)}", cursor.at - 1)
        return text
    text = cursor.texts[cursor.at]
    if kind not in ("word", "colons") and (kind not in KEYWORDS or kind in NOT_LABELS):
        cursor.fail_unexpected("grouping opts", "label")
    cursor.at += 1
    return text


def read_matching(cursor: Cursor) -> Matching:
    """Read `bool`, `on` or `ignoring`, `group_…` and `fill…`, each of them optional.

    Raises:
        QueryError: one of them is malformed.
    """
    kind = cursor.kind()
    if kind not in _WORDS:
        return PLAIN
    is_bool = kind == "bool"
    if is_bool:
        kind = cursor.advance()
    match, group = "", ""
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    if kind in ("on", "ignoring"):
        cursor.at += 1
        match, labels = kind, read_labels(cursor)
        kind = cursor.kind()
        if kind in ("group_left", "group_right"):
            group = kind
            if cursor.advance() == "(":
                include = read_labels(cursor)
            kind = cursor.kind()
    left, right = _read_fills(cursor, kind)
    return Matching(is_bool, match, labels, group, include, left, right)


def _read_fills(cursor: Cursor, kind: str) -> tuple[str, str]:
    if kind == "fill":
        both = _read_fill(cursor)
        return both, both
    if kind == "fill_left":
        left = _read_fill(cursor)
        return left, _read_fill(cursor) if cursor.kind() == "fill_right" else ""
    if kind == "fill_right":
        right = _read_fill(cursor)
        return _read_fill(cursor) if cursor.kind() == "fill_left" else "", right
    return "", ""


def _read_fill(cursor: Cursor) -> str:
    cursor.at += 1
    cursor.expect("(")
    value = cursor.signed_number()
    cursor.expect(")")
    return value

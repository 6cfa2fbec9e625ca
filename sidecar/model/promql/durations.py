"""Parses durations in brackets and after `offset`, including duration expressions.

An offset ends after a plain number, a call or a signed parenthesis: `a offset 5m + b` is a sum.
After anything else, operators continue the offset: `a offset (5m) + 3` is one offset.
"""

from sidecar.model.promql.ast import PLAIN, Binary, Call, Expr, Number, Paren, Step, Unary
from sidecar.model.promql.cursor import Cursor
from sidecar.model.promql.lexer import CLOCK_FUNCTIONS
from sidecar.model.promql.literals import duration_seconds, number_value

_STRENGTHS = {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6}
_POWER = 6
_MAX_SECONDS = (1 << 63) / 1e9


def read_range(cursor: Cursor, context: str) -> Expr:
    """Read a duration in brackets.

    Raises:
        QueryError: it is not a duration, or is not positive.
    """
    start = cursor.at
    found = _read(cursor, 0, context)
    seconds = literal_seconds(found)
    if seconds is not None and seconds <= 0:
        cursor.fail("duration must be greater than 0", start)
    return found


def read_offset(cursor: Cursor) -> Expr:
    """Read the duration after `offset`.

    Raises:
        QueryError: it is not a duration.
    """
    start = cursor.at
    sign = cursor.kind()
    if sign in ("+", "-"):
        cursor.at += 1
    kind = cursor.kind()
    if kind in ("number", "duration", *CLOCK_FUNCTIONS) or (kind == "(" and cursor.at > start):
        operand = _operand(cursor, "offset")
        return Unary(sign, operand) if cursor.at > start and sign in ("+", "-") else operand
    cursor.at = start
    return _read(cursor, 0, "offset")


def literal_seconds(node: Expr) -> float | None:
    """Return the seconds of a literal, with its signs; None for any other expression."""
    sign = 1
    while isinstance(node, Unary):
        sign, node = (-sign if node.op == "-" else sign), node.expr
    return sign * number_seconds(node.text) if isinstance(node, Number) else None


def number_seconds(text: str) -> float:
    """Return the seconds of a number or duration without a sign."""
    try:
        return number_value(text)
    except ValueError:
        return duration_seconds(text)


def _read(cursor: Cursor, minimum: int, context: str) -> Expr:
    cursor.enter()
    first = _operand(cursor, context)
    steps: list[Step] = []
    while (strength := _STRENGTHS.get(cursor.kind(), -1)) >= max(minimum, 1):
        op, place = cursor.kind(), cursor.at
        cursor.at += 1
        right = _read(cursor, strength if strength == _POWER else strength + 1, context)
        if op in "/%" and literal_seconds(right) == 0:
            cursor.fail("division by zero" if op == "/" else "modulo by zero", place)
        steps.append(Step(op, PLAIN, right))
    cursor.depth -= 1
    return Binary(first, tuple(steps)) if steps else first


def _operand(cursor: Cursor, context: str) -> Expr:
    kind = cursor.kind()
    if kind in ("+", "-"):
        cursor.at += 1
        return Unary(kind, _read(cursor, _POWER, context))
    if kind == "(":
        cursor.at += 1
        found = Paren(_read(cursor, 0, context))
        cursor.expect(")")
        return found
    if kind in CLOCK_FUNCTIONS:
        cursor.at += 1
        return Call(kind, _arguments(cursor, kind, context))
    text = cursor.number(context, "number, duration, step(), or range()")
    if not abs(number_seconds(text)) <= _MAX_SECONDS:
        cursor.fail("duration out of range", cursor.at - 1)
    return Number(text)


def _arguments(cursor: Cursor, function: str, context: str) -> tuple[Expr, ...]:
    cursor.expect("(")
    found: list[Expr] = []
    if function in ("max_of", "min_of"):
        found.append(_read(cursor, 0, context))
        cursor.expect(",")
        found.append(_read(cursor, 0, context))
    cursor.expect(")")
    return tuple(found)

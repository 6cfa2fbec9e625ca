"""PromQL parser: text to tree, as Prometheus 3 parses it with all feature flags enabled.

Types and regular expressions are not validated; the server that evaluates the query does that.

Source: https://github.com/prometheus/prometheus/blob/main/promql/parser/generated_parser.y
"""

import json
from collections.abc import Iterable

from sidecar.errors import QueryError, RuleError
from sidecar.model.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Modifiers,
    Number,
    Paren,
    Selector,
    Step,
    Subquery,
    Text,
    Unary,
)
from sidecar.model.promql.braces import begins_metric, is_empty, needs_patterns, read_selector
from sidecar.model.promql.cursor import MAX_COMPILED, MAX_DEPTH, Cursor
from sidecar.model.promql.durations import literal_seconds, number_seconds, read_offset, read_range
from sidecar.model.promql.functions import FUNCTIONS
from sidecar.model.promql.lexer import AGGREGATORS, AGGREGATORS_WITH_PARAMETER, CLOCK_WORDS
from sidecar.model.promql.matchers import NAME, Condition
from sidecar.model.promql.matching import read_labels, read_matching

MAX_QUERY_BYTES = 16 << 10

_STRENGTHS = {
    "or": 1, "and": 2, "unless": 2,
    "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3, "</": 3, ">/": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_POWER = 6
_AFTER_AGGREGATORS = ("(", "by", "without")
_EXTENSIONS = ("anchored", "smoothed")
_POSTFIXES = frozenset([*_EXTENSIONS, "[", "offset", "@"])
_MAX_TIMESTAMP = float(1 << 63)


def parse_query(text: str, *, max_bytes: int = MAX_QUERY_BYTES, is_known: bool = False) -> Expr:
    """Parse an expression.

    Args:
        text: the expression.
        max_bytes: its maximum size.
        is_known: whether each selector is known to have a non-empty matcher, as in a query that
            Livery printed.

    Raises:
        QueryError: it is malformed, too long or nested too deeply; the message begins with line and
            column.
    """
    try:
        return _read_query(_begin(text, max_bytes, is_known=is_known))
    except QueryError as error:
        raise error.in_query(text) from None


def parse_series_selector(text: str) -> Selector:
    """Parse a series selector of `match[]`, which has no range and no modifiers.

    Raises:
        QueryError: it is malformed, too long, or selects everything.
    """
    return parse_series_selectors([text])[0]


def parse_series_selectors(texts: Iterable[str]) -> list[Selector]:
    """Parse the series selectors of one request, which share the limit on compiled patterns.

    Raises:
        QueryError: one is malformed, too long, or selects everything; or they have too many
            patterns together.
    """
    found: list[Selector] = []
    compiled = 0
    for text in texts:
        try:
            cursor = _begin(text)
            cursor.compiled = compiled
            found.append(_read_series_selector(cursor))
        except QueryError as error:
            raise error.in_query(text) from None
        compiled = cursor.compiled
    return found


def _read_query(cursor: Cursor) -> Expr:
    if cursor.kind() == "eof":
        raise QueryError("no expression found in input")
    found = _expression(cursor, 0)
    if cursor.kind() != "eof":
        cursor.fail_unexpected()
    return found


def _read_series_selector(cursor: Cursor) -> Selector:
    conditions = read_selector(cursor).conditions
    if cursor.kind() != "eof":
        cursor.fail_unexpected()
    _check_not_empty(cursor, conditions, 0)
    return Selector(conditions)


def _begin(text: str, max_bytes: int = MAX_QUERY_BYTES, *, is_known: bool = False) -> Cursor:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise QueryError(f"a query of {size} bytes; {max_bytes} are allowed", 0)
    return Cursor(text, is_known=is_known)


def _expression(cursor: Cursor, minimum: int) -> Expr:
    """Read operands and the operators between them of at least this precedence."""
    cursor.enter()
    first = _operand(cursor)
    steps: list[Step] = []
    kinds = cursor.kinds
    while True:
        op = kinds[cursor.at]
        strength = _STRENGTHS.get(op)
        if strength is None or strength < minimum:
            break
        cursor.at += 1
        matching = read_matching(cursor)
        right = _expression(cursor, strength if strength == _POWER else strength + 1)
        steps.append(Step(op, matching, right))
    cursor.depth -= 1
    return Binary(first, tuple(steps)) if steps else first


def _operand(cursor: Cursor) -> Expr:
    # Few calls per level of nesting: 200 levels stay within Python's recursion limit.
    kinds, at = cursor.kinds, cursor.at
    kind = kinds[at]
    found: Expr
    if kind == "word" and kinds[at + 1] == "(":
        found = _call(cursor)
    elif kind in ("word", "colons", "{"):
        found = _selector(cursor)
    elif kind in ("number", "duration"):
        found = Number(cursor.number())
    elif kind == "(":
        cursor.at += 1
        found = Paren(_expression(cursor, 0))
        cursor.expect(")")
    elif kind in ("+", "-"):
        cursor.at += 1
        return Unary(kind, _expression(cursor, _POWER))
    elif kind == "string":
        found = Text(cursor.string())
    elif kind in AGGREGATORS and kinds[at + 1] in _AFTER_AGGREGATORS:
        found = _aggregate(cursor, kind)
    elif kind in CLOCK_WORDS and kinds[at + 1] == "(":
        found = _call(cursor)
    elif begins_metric(kind):
        found = _selector(cursor)
    else:
        cursor.fail_unexpected()
    return _moved(cursor, found) if kinds[cursor.at] in _POSTFIXES else found


def _selector(cursor: Cursor) -> Selector:
    start = cursor.at
    conditions, names_outside = read_selector(cursor)
    if not names_outside:
        _check_not_empty(cursor, conditions, start)
    elif len(conditions) > 1 and conditions[1].name == NAME:
        both = f"{json.dumps(conditions[0].value)} or {json.dumps(conditions[1].value)}"
        cursor.fail(f"metric name must not be set twice: {both}", start)
    return Selector(conditions)


def _check_not_empty(cursor: Cursor, conditions: tuple[Condition, ...], start: int) -> None:
    if cursor.is_known or not needs_patterns(conditions):
        return
    cursor.compiled += sum(len(item.op) > 1 for item in conditions)
    if cursor.compiled > MAX_COMPILED:
        cursor.fail(f"more than {MAX_COMPILED} conditions in selectors that name no metric", start)
    try:
        if not is_empty(conditions):
            return
    except RuleError as error:
        cursor.fail(str(error), start)
    cursor.fail("vector selector must contain at least one non-empty matcher", start)


def _call(cursor: Cursor) -> Call:
    name = cursor.texts[cursor.at]
    if name not in FUNCTIONS:
        cursor.fail(f"unknown function with name {json.dumps(name)}")
    cursor.at += 1
    return Call(name, _arguments(cursor))


def _arguments(cursor: Cursor) -> tuple[Expr, ...]:
    cursor.expect("(")
    found: list[Expr] = []
    if cursor.kind() != ")":
        found.append(_expression(cursor, 0))
        while cursor.kind() == ",":
            if cursor.advance() == ")":
                reason = "trailing commas not allowed in function call args"
                cursor.fail(reason, cursor.at - 1)
            found.append(_expression(cursor, 0))
    cursor.expect(")")
    return tuple(found)


def _aggregate(cursor: Cursor, op: str) -> Aggregate:
    start = cursor.at
    grouping: tuple[str, ...] | None = None
    word = cursor.advance()
    if word != "(":
        cursor.at += 1
        grouping = read_labels(cursor)
    arguments = _arguments(cursor)
    if grouping is None and cursor.kind() in ("by", "without"):
        word = cursor.kind()
        cursor.at += 1
        grouping = read_labels(cursor)
    if not arguments:
        cursor.fail("no arguments for aggregate expression provided", start)
    wanted = 2 if op in AGGREGATORS_WITH_PARAMETER else 1
    if len(arguments) != wanted:
        reason = "wrong number of arguments for aggregate expression provided"
        cursor.fail(f"{reason}, expected {wanted}, got {len(arguments)}", start)
    parameter = arguments[0] if wanted == 2 else None
    return Aggregate(op, parameter, arguments[-1], grouping, word == "without")


def _moved(cursor: Cursor, found: Expr) -> Expr:
    """Read brackets, `offset`, `@` and the other suffixes of an operand."""
    count = 0
    while (kind := cursor.kinds[cursor.at]) in _POSTFIXES:
        start = cursor.at
        cursor.at += 1
        if kind == "[":
            count += 1
            if count > MAX_DEPTH:
                cursor.fail(f"nested deeper than {MAX_DEPTH}", start)
            found = _bracketed(cursor, found, start)
        elif not isinstance(found, Selector | Subquery):
            cursor.fail(_MISPLACED[kind], start)
        else:
            found = _with_modifier(cursor, kind, found, start)
    return found


_WHERE = "must be preceded by an instant vector selector or range vector selector or a subquery"
_MISPLACED = {
    "offset": f"offset modifier {_WHERE}", "@": f"@ modifier {_WHERE}",
    "anchored": "anchored modifier not implemented",
    "smoothed": "smoothed modifier not implemented",
}  # fmt: skip


def _bracketed(cursor: Cursor, found: Expr, start: int) -> Expr:
    duration = read_range(cursor, "subquery or range selector")
    if cursor.kind() == ":":
        cursor.at += 1
        step = None if cursor.kind() == "]" else read_range(cursor, "subquery selector")
        if cursor.kind() != "]":
            cursor.fail_unexpected("subquery selector", '"]"')
        cursor.at += 1
        return Subquery(found, duration, step)
    if cursor.kind() != "]":
        cursor.fail_unexpected("subquery or range", '":" or "]"')
    cursor.at += 1
    if not isinstance(found, Selector) or found.range is not None:
        cursor.fail("ranges only allowed for vector selectors", start)
    if found.modifiers.offset is not None:
        cursor.fail("no offset modifiers allowed before range", start)
    if found.modifiers.at:
        cursor.fail("no @ modifiers allowed before range", start)
    return Selector(found.conditions, duration, found.modifiers)


def _with_modifier(
    cursor: Cursor, kind: str, found: Selector | Subquery, start: int
) -> Selector | Subquery:
    offset, at, extension = (
        found.modifiers.offset, found.modifiers.at, found.modifiers.extension
    )  # fmt: skip
    if kind == "offset":
        if offset is not None:
            cursor.fail("offset may not be set multiple times", start)
        offset = read_offset(cursor)
        if literal_seconds(offset) == 0:
            offset = None
    elif kind == "@":
        if at:
            cursor.fail("@ <timestamp> may not be set multiple times", start)
        at = _timestamp(cursor, start)
    else:
        if isinstance(found, Subquery):
            cursor.fail(f"{kind} modifier is not supported for subqueries", start)
        if extension not in ("", kind):
            reason = "anchored and smoothed modifiers cannot be used together"
            cursor.fail(reason, start)
        extension = kind
    modifiers = Modifiers(offset, at, extension)
    if isinstance(found, Selector):
        return Selector(found.conditions, found.range, modifiers)
    return Subquery(found.expr, found.range, found.step, modifiers)


def _timestamp(cursor: Cursor, start: int) -> str:
    kind = cursor.kind()
    if kind in ("start", "end"):
        cursor.at += 1
        cursor.expect("(")
        cursor.expect(")")
        return f"{kind}()"
    text = cursor.signed_number("@", "timestamp")
    if not abs(number_seconds(text.removeprefix("-"))) < _MAX_TIMESTAMP:
        cursor.fail(f"timestamp out of bounds for @ modifier: {text}", start)
    return text

"""Prints a tree as canonical PromQL on one line; parsing the text gives the same tree."""

import re

from sidecar.model.promql.ast import (
    PLAIN,
    UNMOVED,
    Aggregate,
    Binary,
    Call,
    Expr,
    Matching,
    Modifiers,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
)
from sidecar.model.promql.lexer import NOT_LABELS, NOT_METRICS
from sidecar.model.promql.literals import quote
from sidecar.model.promql.matchers import NAME, Condition

_is_metric = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*").fullmatch


def print_query(node: Expr) -> str:
    """Write an expression."""
    parts: list[str] = []
    _write(node, parts)
    return "".join(parts)


def print_conditions(conditions: tuple[Condition, ...]) -> str:
    """Write a series selector: `up{job="a"}`, or `{__name__=~"a|b"}`."""
    name, rest = "", conditions
    if conditions and _stands_outside(conditions):
        name, rest = conditions[0].value, conditions[1:]
    if name and not rest:
        return name
    inside = ",".join(
        [
            f"{label if _is_plain(label) else quote(label)}{op}{quote(value)}"
            for label, op, value in rest
        ]
    )
    return f"{name}{{{inside}}}"


def _is_plain(label: str) -> bool:
    return label.isascii() and label.isidentifier()


def _stands_outside(conditions: tuple[Condition, ...]) -> bool:
    # A metric name before the braces may not be combined with another condition on the name.
    label, op, value = conditions[0]
    return (
        label == NAME
        and op == "="
        and _is_metric(value) is not None
        and value.lower() not in NOT_METRICS
        and not any(item.name == NAME for item in conditions[1:])
    )


def _write(node: Expr, parts: list[str]) -> None:
    match node:
        case Selector():
            _write_selector(node, parts)
        case Call(name, arguments):
            parts.append(f"{name}(")
            _write_list(arguments, parts)
            parts.append(")")
        case Number() | Text():
            parts.append(node.text if isinstance(node, Number) else quote(node.value))
        case Binary(first, steps):
            _write(first, parts)
            for op, matching, right in steps:
                parts.append(f" {op}{'' if matching is PLAIN else _matching(matching)} ")
                _write(right, parts)
        case Aggregate():
            _write_aggregate(node, parts)
        case Paren(expr):
            parts.append("(")
            _write(expr, parts)
            parts.append(")")
        case Unary(op, expr):
            parts.append(op)
            _write(expr, parts)
        case Subquery():
            _write_subquery(node, parts)


def _write_list(nodes: tuple[Expr, ...], parts: list[str]) -> None:
    for index, node in enumerate(nodes):
        if index:
            parts.append(", ")
        _write(node, parts)


def _write_selector(node: Selector, parts: list[str]) -> None:
    parts.append(print_conditions(node.conditions))
    if node.range is not None:
        parts.append("[")
        _write(node.range, parts)
        parts.append("]")
    if node.modifiers is not UNMOVED:
        _write_modifiers(node.modifiers, parts)


def _write_subquery(node: Subquery, parts: list[str]) -> None:
    _write(node.expr, parts)
    parts.append("[")
    _write(node.range, parts)
    parts.append(":")
    if node.step is not None:
        _write(node.step, parts)
    parts.append("]")
    _write_modifiers(node.modifiers, parts)


def _write_modifiers(modifiers: Modifiers, parts: list[str]) -> None:
    # The offset precedes `@`: an operator right after a computed offset would be parsed as part
    # of it.
    if modifiers.offset is not None:
        parts.append(" offset ")
        _write(modifiers.offset, parts)
    if modifiers.at:
        parts.append(f" @ {modifiers.at}")
    if modifiers.extension:
        parts.append(f" {modifiers.extension}")


def _write_aggregate(node: Aggregate, parts: list[str]) -> None:
    parts.append(node.op)
    if node.grouping is not None:
        word = "without" if node.is_without else "by"
        parts.append(f" {word} {_labels(node.grouping)} ")
    arguments = (node.expr,) if node.parameter is None else (node.parameter, node.expr)
    parts.append("(")
    _write_list(arguments, parts)
    parts.append(")")


def _matching(matching: Matching) -> str:
    parts = [" bool"] if matching.is_bool else []
    if matching.match:
        parts.append(f" {matching.match} {_labels(matching.labels)}")
    if matching.group:
        # Always print a list: in `group_left (b)` the right side would be parsed as the list.
        parts.append(f" {matching.group} {_labels(matching.include)}")
    if matching.fill_left:
        parts.append(f" fill_left ({matching.fill_left})")
    if matching.fill_right:
        parts.append(f" fill_right ({matching.fill_right})")
    return "".join(parts)


def _labels(names: tuple[str, ...]) -> str:
    shown = [
        name if _is_plain(name) and name.lower() not in NOT_LABELS else quote(name)
        for name in names
    ]
    return f"({', '.join(shown)})"

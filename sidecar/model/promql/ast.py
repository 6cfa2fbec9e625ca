"""PromQL syntax trees. Nodes are never modified after creation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sidecar.model.promql.matchers import Condition


@dataclass(slots=True)
class Number:
    """A number or duration without a sign, as written: `1e3`, `0x1f`, `Inf`, `5m`."""

    text: str


@dataclass(slots=True)
class Text:
    """A string."""

    value: str


class Modifiers(NamedTuple):
    """Modifiers of a selector or subquery: `offset`, `@`, `anchored`, `smoothed`."""

    offset: "Expr | None" = None
    """A duration, possibly computed; None also for a zero offset."""
    at: str = ""
    """`start()`, `end()`, or a number with its sign; empty without `@`."""
    extension: str = ""
    """`anchored`, `smoothed` or empty."""


UNMOVED = Modifiers()


@dataclass(slots=True)
class Selector:
    """Series that satisfy all conditions; with a range, their samples in that range."""

    conditions: tuple[Condition, ...]
    """Conditions on the metric name come first."""
    range: "Expr | None" = None
    modifiers: Modifiers = UNMOVED


@dataclass(slots=True)
class Subquery:
    """An expression evaluated repeatedly over a range: `expr[1h:5m]`."""

    expr: "Expr"
    range: "Expr"
    step: "Expr | None" = None
    modifiers: Modifiers = UNMOVED


@dataclass(slots=True)
class Call:
    """A function call."""

    name: str
    arguments: "tuple[Expr, ...]" = ()


@dataclass(slots=True)
class Aggregate:
    """An aggregation; `grouping` is None without a `by` or `without` clause."""

    op: str
    parameter: "Expr | None"
    expr: "Expr"
    grouping: tuple[str, ...] | None = None
    is_without: bool = False


class Matching(NamedTuple):
    """How the series on the two sides of a binary operation are matched."""

    is_bool: bool = False
    match: str = ""
    """`on`, `ignoring` or empty."""
    labels: tuple[str, ...] = ()
    group: str = ""
    """`group_left`, `group_right` or empty."""
    include: tuple[str, ...] = ()
    fill_left: str = ""
    """A number with its sign, or empty."""
    fill_right: str = ""


PLAIN = Matching()


class Step(NamedTuple):
    """An operator and its right operand."""

    op: str
    matching: Matching
    right: "Expr"


@dataclass(slots=True)
class Binary:
    """Binary operations from left to right: each step applies to the result before it.

    Flat, so that thousands of `or`s do not make a deep tree.
    """

    first: "Expr"
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Unary:
    """`+` or `-` before an expression."""

    op: str
    expr: "Expr"


@dataclass(slots=True)
class Paren:
    """An expression in parentheses."""

    expr: "Expr"


Expr = Number | Text | Selector | Subquery | Call | Aggregate | Binary | Unary | Paren


def children(node: Expr) -> Iterator[Expr]:
    """Yield a node's child expressions, except durations."""
    match node:
        case Call(_, arguments):
            yield from arguments
        case Aggregate(_, parameter, expr):
            if parameter is not None:
                yield parameter
            yield expr
        case Binary(first, steps):
            yield first
            for step in steps:
                yield step.right
        case Subquery(expr) | Unary(_, expr) | Paren(expr):
            yield expr
        case Number() | Text() | Selector():
            pass


def selectors(node: Expr) -> Iterator[Selector]:
    """Yield all selectors of a tree."""
    if isinstance(node, Selector):
        yield node
    for child in children(node):
        yield from selectors(child)

"""Rewrites a query so that it reads only a tenant's series.

The rewritten query returns what a Prometheus with only the tenant's series would return. Every
selector is intersected with the tenant's view (`branches`). If that needs several selectors:

  an instant vector               (a or b); series of one metric differ in their labels
  a function of each series       (rate(a) or rate(b))
  absence                         (absent(a) and absent(b))
  anything else                   is refused; the error says what to change

`or` ignores metric names, so it is not exact for a selector without a metric name. Such a query is
refused, too.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sidecar.errors import QueryError, QueryRefusedError
from sidecar.model.promql.ast import (
    PLAIN,
    Aggregate,
    Binary,
    Call,
    Expr,
    Number,
    Paren,
    Selector,
    Step,
    Subquery,
    Text,
    Unary,
    selectors,
)
from sidecar.model.promql.branches import Budget, View, meet
from sidecar.model.promql.functions import ABSENCES, OF_SELECTORS, REFUSED
from sidecar.model.promql.matchers import NAME, Condition
from sidecar.model.promql.parser import parse_query
from sidecar.model.promql.printer import print_conditions, print_query
from sidecar.model.promql.spans import span_seconds

MAX_BRANCHES = 16
"""Per selector of a query: each branch becomes its own expression, joined by `or`."""
MAX_PRINTED_BYTES = 64 << 10
MAX_MATCHES_BYTES = 256 << 10
"""Total over all selectors that replace `match[]`."""
MAX_SELECTORS = 500
"""Per query."""
MAX_COPIES = 16
"""Copies of a call's other arguments when a selector becomes several; nested calls multiply."""
ORDERED = frozenset(["limitk"])
"""Aggregations that select series by their order."""


class Enforced(NamedTuple):
    """A rewritten query."""

    text: str
    span_seconds: float
    """Length of the time range it reads, without offsets; infinite if a range is not a literal."""


def enforce_query(text: str, view: View) -> Enforced:
    """Rewrite a query.

    Raises:
        QueryError: it cannot be parsed.
        QueryRefusedError: it cannot be answered exactly, or it selects nothing visible and the view
            has `refuses_unseen`; the message says what to change.
    """
    asked = parse_query(text)
    tree = _enforced(asked, _Meetings(view, MAX_PRINTED_BYTES, MAX_BRANCHES))
    printed = print_query(tree)
    if len(printed) > MAX_PRINTED_BYTES:
        raise QueryRefusedError(_too_long(MAX_PRINTED_BYTES))
    _check(printed, tree, view)
    return Enforced(printed, span_seconds(asked))


def enforce_selectors(asked: Iterable[Selector], view: View) -> list[str]:
    """Return selectors whose union is the tenant's part of `asked`, one for each `match[]`.

    Raises:
        QueryRefusedError: there are too many, or they are too long.
    """
    meetings = _Meetings(view, MAX_MATCHES_BYTES, MAX_SELECTORS)
    found = (print_conditions(item.conditions) for one in asked for item in meetings.of(one))
    return list(dict.fromkeys(found))


def everything(view: View) -> list[str]:
    """Return selectors whose union is the whole view.

    Raises:
        QueryRefusedError: there are too many, or they are too long.
    """
    return enforce_selectors([Selector(())], view._replace(refuses_unseen=False))


def _check(printed: str, tree: Expr, view: View) -> None:
    """Check that the printed query parses to the same tree and isolates every selector."""
    try:
        is_same = parse_query(printed, max_bytes=2 * MAX_PRINTED_BYTES, is_known=True) == tree
    except QueryError:
        is_same = False
    if not is_same or not (view.is_open or all(map(view.isolates, selectors(tree)))):
        raise QueryRefusedError("this query cannot be rewritten safely; please report it")


class _Meetings:
    """Intersections of one query's selectors with a view, computed once each and within limits.

    Args:
        view: what the tenant may see.
        limit: characters allowed in all resulting selectors together.
        branches: selectors allowed for each selector of the query.
    """

    def __init__(self, view: View, limit: int, branches: int) -> None:
        self.view = view
        self._limit = limit
        self._branches = branches
        self._left = limit
        self._selectors = 0
        self._known: dict[tuple[Condition, ...], list[tuple[Condition, ...]]] = {}
        self._budget, self._weight = Budget(), view.weight
        self._copies = 1

    def of(self, node: Selector) -> list[Selector]:
        """Return the selectors whose union is a selector's part of the view; never empty.

        Each call counts towards the limit on selectors.

        Raises:
            QueryRefusedError: there are too many, they are too long, or nothing is visible and the
                view has `refuses_unseen`.
        """
        self._selectors += self._copies
        if self._selectors > MAX_SELECTORS:
            raise QueryRefusedError(f"more than {MAX_SELECTORS} selectors: use several queries")
        added = self._meet(node)
        if not added and self.view.refuses_unseen:
            raise QueryRefusedError(
                f"the access rules allow no series of {_shown(node)}: select series that they allow"
            )
        met = [_with(node, conditions) for conditions in added or [self.view.impossible()]]
        for one in met:
            size = sum(len(name) + len(value) for name, _, value in one.conditions)
            self._left -= self._copies * size
        if self._left < 0:
            raise QueryRefusedError(_too_long(self._limit))
        return met

    @contextmanager
    def copied(self, times: int) -> Iterator[None]:
        """Count each selector of this block as often as it will be printed.

        Raises:
            QueryRefusedError: there are too many copies.
        """
        before, self._copies = self._copies, self._copies * times
        if self._copies > MAX_COPIES:
            raise QueryRefusedError(
                "selectors that the access rules split into several are nested too deeply: add "
                "label conditions that match fewer rules, or use several queries"
            )
        try:
            yield
        finally:
            self._copies = before

    def are_several(self, node: Selector) -> bool:
        """Return whether a selector's part of the view needs several selectors.

        Raises:
            QueryRefusedError: it needs too many.
        """
        return len(self._meet(node)) > 1

    def _meet(self, node: Selector) -> list[tuple[Condition, ...]]:
        added = self._known.get(node.conditions)
        if added is None:
            self._budget.spend(self._weight)
            added = meet(node.conditions, self.view, self._budget)
            if len(added) > self._branches:
                raise QueryRefusedError(_too_many(node, len(added), self._branches))
            self._known[node.conditions] = added
        return added


def _enforced(node: Expr, meetings: _Meetings) -> Expr:
    match node:
        case Selector():
            return _joined(meetings.of(node), "or", node)
        case Call():
            return _enforced_call(node, meetings)
        case Aggregate():
            return _enforced_aggregate(node, meetings)
        case Binary(first, steps):
            return Binary(
                _enforced(first, meetings),
                tuple(Step(op, how, _enforced(right, meetings)) for op, how, right in steps),
            )
        case Paren(expr):
            return Paren(_enforced(expr, meetings))
        case Unary(op, expr):
            return Unary(op, _enforced(expr, meetings))
        case Subquery(expr, duration, step, modifiers):
            return Subquery(_enforced(expr, meetings), duration, step, modifiers)
        case Number() | Text():
            return node


def _enforced_aggregate(node: Aggregate, meetings: _Meetings) -> Aggregate:
    if node.op in ORDERED:
        _refuse_joined(node.op, node.expr, meetings)
    parameter = None if node.parameter is None else _enforced(node.parameter, meetings)
    inner = _enforced(node.expr, meetings)
    return Aggregate(node.op, parameter, inner, node.grouping, node.is_without)


def _enforced_call(node: Call, meetings: _Meetings) -> Expr:
    if node.name in REFUSED:
        raise QueryRefusedError(
            f"{node.name}() reads series that the query does not name, which is not allowed: "
            "join them with `* on (…) group_left (…)`"
        )
    looks_at_selectors = node.name in OF_SELECTORS or node.name in ABSENCES
    for index, argument in enumerate(node.arguments):
        inner = _bare(argument)
        if looks_at_selectors and isinstance(inner, Selector) and meetings.are_several(inner):
            return _spread(node, index, inner, meetings)
    return Call(node.name, tuple(_enforced(argument, meetings) for argument in node.arguments))


def _bare(node: Expr) -> Expr:
    while isinstance(node, Paren):
        node = node.expr
    return node


def _spread(node: Call, index: int, selector: Selector, meetings: _Meetings) -> Expr:
    """Call the function on each selector that `selector` becomes, and join the results."""
    met = meetings.of(selector)
    with meetings.copied(len(met)):
        arguments = [
            argument if at == index else _enforced(argument, meetings)
            for at, argument in enumerate(node.arguments)
        ]
    calls: list[Expr] = [
        Call(node.name, (*arguments[:index], one, *arguments[index + 1 :])) for one in met
    ]
    if node.name in ABSENCES:
        return _chain(calls, "and")
    _refuse_unnamed(selector, met)
    return _chain(calls, "or")


def _with(node: Selector, added: tuple[Condition, ...]) -> Selector:
    # Our conditions precede the tenant's: `absent()` takes labels from equalities, and a later
    # condition on the same label would remove that label again.
    own = node.conditions
    at = 0
    while at < len(own) and own[at].name == NAME:
        at += 1
    return Selector((*own[:at], *added, *own[at:]), node.range, node.modifiers)


def _joined(met: list[Selector], op: str, node: Selector) -> Expr:
    if len(met) == 1:
        return met[0]
    if node.range is not None:
        raise QueryRefusedError(
            f"{_shown(node)} with a range needs {len(met)} selectors here ({_difference(met)}): "
            "add one of these conditions, or use rate() or …_over_time() on it"
        )
    _refuse_unnamed(node, met)
    return _chain(list(met), op)


def _chain(parts: "list[Expr] | list[Selector]", op: str) -> Paren:
    first, *rest = parts
    return Paren(Binary(first, tuple(Step(op, PLAIN, item) for item in rest)))


def _refuse_unnamed(node: Selector, met: list[Selector]) -> None:
    if not any(item.name == NAME and item.op == "=" for item in node.conditions):
        raise QueryRefusedError(
            f"{_shown(node)} names no metric, and the access rules need {len(met)} selectors for "
            f"it ({_difference(met)}): name the metric, or add one of these conditions"
        )


def _refuse_joined(op: str, node: Expr, meetings: _Meetings) -> None:
    """Refuse an aggregation that depends on Prometheus's series order, which `or` changes."""
    for selector in selectors(node):
        if meetings.are_several(selector):
            met = meetings.of(selector)
            raise QueryRefusedError(
                f"{op}() depends on the order of series, and the access rules need {len(met)} "
                f"selectors for {_shown(selector)} ({_difference(met)}): add one of these "
                "conditions to it, or use topk()"
            )


def _too_long(limit: int) -> str:
    return (
        f"the query would be longer than {limit} characters with the access rules applied; "
        f"{limit} are allowed: name the metrics, or use several queries"
    )


def _too_many(node: Selector, count: int, limit: int) -> str:
    return (
        f"{_shown(node)} needs {count} selectors under the access rules; {limit} are allowed: "
        "name the metric, or add label conditions that match fewer rules"
    )


def _difference(met: list[Selector]) -> str:
    """Return the conditions in which several selectors differ, as text."""
    common = set.intersection(*(set(item.conditions) for item in met))
    shown = [
        print_conditions(tuple(item for item in one.conditions if item not in common))
        for one in met[:3]
    ]
    return " or ".join(shown) + (" or …" if len(met) > 3 else "")


def _shown(node: Selector) -> str:
    return print_conditions(node.conditions)[:200]

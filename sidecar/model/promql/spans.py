"""How much time a query reads before its evaluation: what it costs grows with it."""

import math

from sidecar.model.promql.ast import Expr, Selector, Subquery, children
from sidecar.model.promql.durations import literal_seconds


def span_seconds(node: Expr) -> float:
    """Return how much time a query reads before its evaluation, wherever offsets put that.

    Ranges of subqueries add up with those within; infinite where a duration is calculated.
    """
    own: Expr | None = node.range if isinstance(node, Selector | Subquery) else None
    seconds = 0.0
    if own is not None:
        literal = literal_seconds(own)
        seconds = math.inf if literal is None else literal
    return seconds + max(map(span_seconds, children(node)), default=0.0)

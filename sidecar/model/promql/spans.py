"""Length of the time range that a query reads; the query's cost grows with it."""

import math

from sidecar.model.promql.ast import Expr, Selector, Subquery, children
from sidecar.model.promql.durations import literal_seconds


def span_seconds(node: Expr) -> float:
    """Return the length of the time range that a query reads, regardless of offsets.

    A subquery's range adds to the ranges inside it. Infinite if a range is not a literal.
    """
    own: Expr | None = node.range if isinstance(node, Selector | Subquery) else None
    seconds = 0.0
    if own is not None:
        literal = literal_seconds(own)
        seconds = math.inf if literal is None else literal
    return seconds + max(map(span_seconds, children(node)), default=0.0)

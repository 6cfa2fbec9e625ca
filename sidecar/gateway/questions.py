"""The request that is sent to a backend in place of a tenant's request."""

from typing import NamedTuple

from sidecar.errors import QueryError
from sidecar.gateway.endpoints import Endpoint, Kind
from sidecar.gateway.parameters import Parameters, write_parameters
from sidecar.gateway.ranges import bounded_start, check_range, read_lookback
from sidecar.gateway.refusals import JSON, Cause, Refusal
from sidecar.gateway.tenants import Sight
from sidecar.http.messages import Request
from sidecar.model.promql.ast import Binary, Expr, children
from sidecar.model.promql.branches import View
from sidecar.model.promql.enforcement import enforce_selectors, everything
from sidecar.model.promql.parser import parse_query, parse_series_selectors

_ESCAPING = "escaping=allow-utf-8"
MAX_MATCHES = 50
MAX_OPERATORS = 200
"""Maximum number of operators in a query for `format_query` or `parse_query`."""


class Question(NamedTuple):
    """One request to a backend."""

    method: str
    path: str
    form: str
    """The encoded parameters, for the URL of a GET or the body of a POST."""
    accept: str = ""
    """The Accept header; empty for none."""
    content_type: str = JSON
    """The Content-Type that the response must have."""


class Bounds(NamedTuple):
    """Limits of a question."""

    query_bytes: int
    range_seconds: float


def write_question(
    request: Request, endpoint: Endpoint, parameters: Parameters, sight: Sight, *, bounds: Bounds
) -> Question:
    """Build a new request: only parsed values of the tenant's request are passed on.

    Raises:
        Refusal: a query or selector is missing, cannot be parsed, or exceeds a limit.
        QueryRefusedError: the query cannot be answered exactly.
    """
    try:
        pairs = _rewrite(endpoint, parameters, sight, bounds)
    except QueryError as error:
        name = "match[]" if endpoint.kind is Kind.MATCHES else "query"
        raise Refusal(Cause.QUERY, 400, f'invalid parameter "{name}": {error}') from error
    is_text = endpoint.content_type != JSON
    # UTF-8 names are sent unescaped only to clients that accept them.
    escapes = is_text and _ESCAPING in request.headers.get("accept", "")
    return Question(
        endpoint.sends,
        request.path,
        write_parameters(pairs),
        accept=f"{endpoint.content_type};version=1.0.0;{_ESCAPING}" if escapes else "",
        content_type=endpoint.content_type,
    )


def _rewrite(
    endpoint: Endpoint, parameters: Parameters, sight: Sight, bounds: Bounds
) -> list[tuple[str, str]]:
    kept = [
        (name, values[0])
        for name, values in parameters.items()
        if name not in ("query", "match[]") and values and values[0]
    ]
    if endpoint.reads_all:
        start = bounded_start(parameters, bounds.range_seconds)
        kept += [] if start is None else [("start", start)]
    if endpoint.kind is Kind.MATCHES:
        if endpoint.needs_matches and not parameters.get("match[]"):
            raise Refusal(Cause.PARAMETERS, 400, "no match[] parameter provided")
        return [*kept, *(("match[]", text) for text in _matches(parameters, sight.view))]
    (text,) = parameters.get("query") or [""]
    if not text:
        raise Refusal(Cause.PARAMETERS, 400, 'parameter "query" is needed')
    if len(text.encode()) > bounds.query_bytes:
        sentence = f"the query is over {bounds.query_bytes} bytes; split it into several"
        raise Refusal(Cause.SIZE, 422, sentence)
    if endpoint.kind is Kind.TEXT:
        # Prometheus formats and parses it in time cubic in its size.
        _check_size(parse_query(text))
        return [*kept, ("query", text)]
    enforced = sight.rewrite(text)
    reach_seconds = enforced.span_seconds + read_lookback(parameters)
    check_range(parameters, reach_seconds, bounds.range_seconds)
    return [*kept, ("query", enforced.text)]


def _matches(parameters: Parameters, view: View) -> list[str]:
    given = parameters.get("match[]", ())
    if len(given) > MAX_MATCHES:
        raise Refusal(Cause.PARAMETERS, 400, f"more than {MAX_MATCHES} match[] parameters")
    if not given:
        return everything(view)
    return enforce_selectors(parse_series_selectors(given), view)


def _check_size(tree: Expr) -> None:
    waiting, operators = [tree], 0
    while waiting:
        node = waiting.pop()
        operators += len(node.steps) if isinstance(node, Binary) else 0
        waiting += children(node)
    if operators > MAX_OPERATORS:
        raise Refusal(
            Cause.SIZE,
            422,
            f"the query has over {MAX_OPERATORS} operators, too many for this endpoint",
        )

"""What of Prometheus' API is served: paths, methods and parameters; all else is refused.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from sidecar.gateway.refusals import JSON, Cause, Refusal


class Kind(Enum):
    """How an endpoint is answered."""

    QUERY = auto()
    """The query is rewritten."""
    MATCHES = auto()
    """Each `match[]` is rewritten; where there is none, the tenant's own are put in."""
    TEXT = auto()
    """Nothing of the database is read: it is passed on as it is."""
    METADATA = auto()
    TARGETS = auto()
    """What targets say of metrics that the tenant can see."""
    BUILD = auto()
    """Says which Prometheus to take this for."""
    NO_RULES = auto()
    NO_ALERTS = auto()


class Endpoint(NamedTuple):
    """One endpoint."""

    kind: Kind
    single: frozenset[str] = frozenset()
    """Parameters with one value."""
    repeated: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ("GET", "POST")
    sends: str = "GET"
    """The method by which backends are asked."""
    content_type: str = JSON
    """Of the answers."""
    needs_matches: bool = False
    """Whether a `match[]` must be given."""
    reads_all: bool = False
    """Whether all of time is read where no `start` is given."""


_TIMES = ("start", "end", "limit")
_QUERY = ("query", "timeout", "limit", "lookback_delta", "stats")
_MATCH = frozenset(["match[]"])
_RULES = frozenset(["rule_name[]", "rule_group[]", "file[]", "match[]"])
_GET = ("GET",)
ENDPOINTS = {
    "/api/v1/query": Endpoint(Kind.QUERY, frozenset([*_QUERY, "time"]), sends="POST"),
    "/api/v1/query_range": Endpoint(
        Kind.QUERY, frozenset([*_QUERY, "start", "end", "step"]), sends="POST"
    ),
    "/api/v1/query_exemplars": Endpoint(
        Kind.QUERY, frozenset(["query", "start", "end"]), sends="POST", reads_all=True
    ),
    "/api/v1/series": Endpoint(
        Kind.MATCHES, frozenset(_TIMES), _MATCH, sends="POST", needs_matches=True, reads_all=True
    ),
    "/api/v1/labels": Endpoint(
        Kind.MATCHES, frozenset(_TIMES), _MATCH, sends="POST", reads_all=True
    ),
    "/federate": Endpoint(Kind.MATCHES, frozenset(), _MATCH, _GET, content_type="text/plain"),
    "/api/v1/format_query": Endpoint(Kind.TEXT, frozenset(["query"]), sends="POST"),
    "/api/v1/parse_query": Endpoint(Kind.TEXT, frozenset(["query"]), sends="POST"),
    "/api/v1/metadata": Endpoint(
        Kind.METADATA, frozenset(["metric", "limit", "limit_per_metric"]), methods=_GET
    ),
    "/api/v1/status/buildinfo": Endpoint(Kind.BUILD, methods=_GET),
    "/api/v1/rules": Endpoint(
        Kind.NO_RULES,
        frozenset(["type", "exclude_alerts", "group_limit", "group_next_token"]),
        _RULES,
        _GET,
    ),
    "/api/v1/alerts": Endpoint(Kind.NO_ALERTS, methods=_GET),
    "/api/v1/targets/metadata": Endpoint(
        Kind.TARGETS, frozenset(["match_target", "metric", "limit"]), methods=_GET
    ),
}
_VALUES = Endpoint(Kind.MATCHES, frozenset(_TIMES), _MATCH, _GET, reads_all=True)
# A label's name as Prometheus takes it in a path: plain, or escaped by its own `U__` scheme.
_VALUES_PATH = re.compile(r"/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]*/values")


def find_endpoint(path: str, method: str) -> Endpoint:
    """Return what is served under a path, which is compared as it was sent.

    Raises:
        Refusal: nothing is, or not by this method.
    """
    endpoint = ENDPOINTS.get(path)
    if endpoint is None and _VALUES_PATH.fullmatch(path):
        endpoint = _VALUES
    if endpoint is None:
        raise Refusal(Cause.ENDPOINT, 404, f"{path[:100]!r} is not served to tenants")
    if method not in endpoint.methods:
        allowed = " and ".join(endpoint.methods)
        raise Refusal(Cause.ENDPOINT, 405, f"only {allowed} is served under {path}")
    return endpoint

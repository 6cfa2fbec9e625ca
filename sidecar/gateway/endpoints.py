"""The served endpoints of Prometheus' API: paths, methods and parameters; all else is refused.

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
    """Each `match[]` is rewritten; without any, selectors of all the tenant's series are added."""
    TEXT = auto()
    """The query is passed on unchanged: no series are read."""
    METADATA = auto()
    TARGETS = auto()
    """Answered with the targets' metadata of metrics that the tenant can see."""
    BUILD = auto()
    """Answered with the version of Prometheus that the gateway emulates."""
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
    """HTTP method of the request to a backend."""
    content_type: str = JSON
    """Content-Type of the response."""
    needs_matches: bool = False
    """Whether a `match[]` must be given."""
    reads_all: bool = False
    """Whether a request without `start` reads back without a limit."""


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
# A label name as Prometheus accepts it in a path: plain, or in its own `U__` escaping.
_VALUES_PATH = re.compile(r"/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]*/values")


def find_endpoint(path: str, method: str) -> Endpoint:
    """Return the endpoint of a path, which is compared as sent, without decoding.

    Raises:
        Refusal: the path is not served, or not with this method.
    """
    endpoint = ENDPOINTS.get(path)
    if endpoint is None and _VALUES_PATH.fullmatch(path):
        endpoint = _VALUES
    if endpoint is None:
        raise Refusal(Cause.ENDPOINT, 404, f"{path[:100]!r} is not served to tenants")
    if method not in endpoint.methods:
        allowed = " and ".join(endpoint.methods)
        raise Refusal(Cause.ENDPOINT, 405, f"{path} accepts only {allowed}")
    return endpoint

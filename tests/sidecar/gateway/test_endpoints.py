import pytest

from sidecar.gateway.endpoints import Kind, find_endpoint
from sidecar.gateway.refusals import Refusal


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/query", Kind.QUERY), ("/api/v1/query_range", Kind.QUERY),
        ("/api/v1/series", Kind.MATCHES), ("/api/v1/label/job/values", Kind.MATCHES),
        ("/api/v1/label/U__a_2e_b/values", Kind.MATCHES), ("/federate", Kind.MATCHES),
        ("/api/v1/status/buildinfo", Kind.BUILD), ("/api/v1/rules", Kind.NO_RULES),
    ],
)  # fmt: skip
def test_what_is_served_is_found(path: str, kind: Kind) -> None:
    assert find_endpoint(path, "GET").kind is kind


@pytest.mark.parametrize(
    "path",
    [
        "/", "/api/v1/query/", "//api/v1/query", "/api/v1/./query", "/api/v1/../v1/query",
        "/api/v1/%71uery", "/API/v1/query", "/api/v1/write", "/api/v1/read", "/api/v1/admin/tsdb",
        "/api/v1/status/config", "/api/v1/status/tsdb", "/api/v1/targets", "/metrics", "/graph",
        "/api/v1/label/a/b/values", "/api/v1/label/..%2f/values", "/api/v1/query?", "",
        "/api/v1/search/metric_names", "/api/v1/label/a%00/values", "/-/reload", "/debug/pprof",
    ],
)  # fmt: skip
def test_everything_else_is_not_there(path: str) -> None:
    with pytest.raises(Refusal) as caught:
        find_endpoint(path, "GET")

    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("path", "method"),
    [("/api/v1/query", "PUT"), ("/federate", "POST"), ("/api/v1/series", "DELETE"),
     ("/api/v1/label/job/values", "POST"), ("/api/v1/query", "OPTIONS")],
)  # fmt: skip
def test_other_methods_are_refused(path: str, method: str) -> None:
    with pytest.raises(Refusal) as caught:
        find_endpoint(path, method)

    assert caught.value.status == 405

from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.roles.gateway.metrics import MAX_NOTES, GatewayMetrics


def test_requests_and_backends_are_counted() -> None:
    metrics = GatewayMetrics()
    metrics.answered("/api/v1/query", 200, 0.003, None)
    metrics.answered("/api/v1/query", 400, 0.001, Refusal(Cause.QUERY, 400, "no"))
    metrics.asked("http://p:9090", 200)
    group = BackendGroup(BackendSettings(), 1)
    group.use(["http://p:9090"])
    group.backends[0].error = "away"

    text = metrics.render(group, 3).decode()

    for line in (
        'prometheus_proxy_requests_total{code="200",path="/api/v1/query"} 1',
        'prometheus_proxy_request_duration_seconds_bucket{path="/api/v1/query",le="0.005"} 2',
        'prometheus_proxy_backend_requests_total{backend="http://p:9090",code="200"} 1',
        "prometheus_proxy_targets_discovered 1",
        "prometheus_proxy_tenants_active 3",
        'livery_gateway_refused_total{reason="query"} 1',
        'livery_gateway_refused_total{reason="rate"} 0',
        'livery_gateway_backend_up{backend="http://p:9090"} 0',
    ):
        assert line in text


def test_the_last_refusals_are_told_each_kind_once() -> None:
    metrics = GatewayMetrics()
    for number in [*range(MAX_NOTES + 2), 5]:
        refusal = Refusal(Cause.TENANT, 403, f"not {number}")
        metrics.answered("/api/v1/query", 403, 0.001, refusal)
    notes = metrics.notes()

    assert len(notes) == MAX_NOTES
    assert notes[0].endswith(" UTC 403 tenant: not 5 (/api/v1/query)")
    assert sum("not 5" in note for note in notes) == 1

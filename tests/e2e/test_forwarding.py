"""A tenant's own Prometheus in its namespace, fed by its proxies and by collectors."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import NAMESPACE, Cluster, until
from tests.e2e.prometheus import prometheus_manifest, receiver_manifest
from tests.e2e.workloads import deployment

pytestmark = pytest.mark.timeout(600)

_STAMP = int(time.time())
SHOP, BANK, MONITORING = f"fwshop-{_STAMP}", f"fwbank-{_STAMP}", f"fwmon-{_STAMP}"
# Objects from the README of the replaced program, with the tenant's names.
_SEED = """\
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {{name: seed, namespace: {namespace}}}
spec:
  source: {namespace}
  metricIsolation: true
  metrics:
    - "http_requests_total"
    - "http_request_duration_seconds"
    - '{{job="my-app"}}'
    - "up{{job=\\"my-app\\"}}"
  remoteWrite:
    enabled: true
    interval: "5s"
    target:
      type: "prometheus"
      prometheus:
        serviceName: "prometheus-operated"
        servicePort: 9090
        replicas: 2
        statefulSetName: "prometheus-my-app"
    extraLabels:
      tenant: "{namespace}"
      managed_by: "multi-tenant-proxy"
    honorLabels: true
    metricRelabelings:
      - sourceLabels: [__name__]
        regex: "container_(.*)"
        targetLabel: metrics_path
        replacement: "/metrics/cadvisor"
"""
_PULLED = """\
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {{name: pulled, namespace: {namespace}}}
spec:
  metricIsolation: true
  metrics: ["scrape_duration_seconds"]
  remoteWrite:
    enabled: true
    interval: 5s
    collect: prometheus
    target:
      type: prometheus
      prometheus:
        serviceName: prometheus-operated
        replicas: 2
        statefulSetName: prometheus-my-app
"""


class Receivers:
    """Two replicas of the tenant's Prometheus."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def ask(self, query: str, replica: int = 0) -> list[dict[str, Any]]:
        """Return what a query finds at a replica."""
        path = f"/api/v1/namespaces/{SHOP}/pods/prometheus-my-app-{replica}:9090/proxy/api/v1/query"
        found: list[dict[str, Any]] = self.cluster.get_raw(f"{path}?query={query}")["data"][
            "result"
        ]
        return found

    def series(self, query: str, replica: int = 0) -> list[dict[str, str]]:
        """Return the labels of the series that a replica has."""
        return [item["metric"] for item in self.ask(query, replica)]

    def moments(self) -> list[int]:
        """Return the number of samples of each collected series in the last 45 seconds."""
        found = self.ask("count_over_time(scrape_duration_seconds[45s])")
        return [int(item["value"][1]) for item in found]

    def condition(self, name: str) -> tuple[str, str]:
        """Return whether an object is ready, and the reason."""
        found: Any = self.cluster.get("metricaccess", name, "-n", SHOP)
        (ready,) = [item for item in found["status"]["conditions"] if item["type"] == "Ready"]
        return ready["status"], ready["reason"]

    def written(self, name: str) -> dict[str, Any]:
        """Return the remote write part of an object's status."""
        found: dict[str, Any] = self.cluster.get("metricaccess", name, "-n", SHOP)
        facts: dict[str, Any] = found["status"]["remoteWrite"]
        return facts


@pytest.fixture(scope="module")
def receivers(cluster: Cluster, prometheus_image: str) -> Iterator[Receivers]:
    """Two teams' pods, one team's own Prometheus, and the platform's behind collectors."""
    for name, team in ((SHOP, "frontend"), (BANK, "payments")):
        cluster.kubectl("create", "namespace", name)
        labels = ("livery.dev/inject=enabled", f"team={team}")
        cluster.kubectl("label", "namespace", name, *labels)
        cluster.kubectl("apply", "-f", "-", stdin=deployment(name, "web"))
    cluster.kubectl("create", "namespace", MONITORING)
    manifest = prometheus_manifest(MONITORING, prometheus_image, (SHOP, BANK))
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    cluster.kubectl("apply", "-f", "-", stdin=receiver_manifest(SHOP, prometheus_image))
    url = f"http://prometheus.{MONITORING}.svc:9090"
    settings = ("remoteWrite.collector.enabled=true", f"gateway.backends.static[0]={url}")
    with cluster.upgraded(*settings):
        cluster.kubectl("apply", "-f", "-", stdin=_SEED.format(namespace=SHOP))
        cluster.kubectl("apply", "-f", "-", stdin=_PULLED.format(namespace=SHOP))
        for kind in ("deployment/web", "statefulset/prometheus-my-app"):
            cluster.kubectl("-n", SHOP, "rollout", "status", kind, "--timeout=120s")
        yield Receivers(cluster)
    for name in (SHOP, BANK, MONITORING):
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("replica", [0, 1])
def test_each_replica_has_what_the_proxies_of_its_namespace_send(
    receivers: Receivers, replica: int
) -> None:
    found = until(lambda: receivers.series("http_requests_total", replica))
    for labels in found:
        assert labels["tenant"] == labels["namespace"] == SHOP
        assert (labels["team"], labels["managed_by"]) == ("frontend", "multi-tenant-proxy")


def test_a_collector_sends_what_the_platform_s_prometheus_has_of_the_namespace(
    receivers: Receivers,
) -> None:
    found = until(lambda: receivers.series("scrape_duration_seconds", 1))

    assert {labels["namespace"] for labels in found} == {SHOP}
    assert {labels["tenant"] for labels in found} == {SHOP}


def test_nothing_of_another_team_is_there(receivers: Receivers) -> None:
    assert receivers.series(f'{{namespace="{BANK}"}}') == []
    assert receivers.series('{team="payments"}') == []


def test_when_a_collector_is_killed_another_goes_on(receivers: Receivers) -> None:
    cluster = receivers.cluster
    until(lambda: min(receivers.moments(), default=0) >= 5)
    (first, *_) = cluster.pods(NAMESPACE, "app.kubernetes.io/component=collector")
    name = first["metadata"]["name"]
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", name, "--force", "--grace-period=0")
    time.sleep(25)
    counts = receivers.moments()

    # 45 seconds, before and after the kill, have nine samples; the last may still be missing.
    assert counts
    assert min(counts) >= 8
    assert max(counts) <= 9


def test_the_status_says_how_it_goes(receivers: Receivers) -> None:
    until(lambda: receivers.condition("pulled") == ("True", "InForce"))
    # No proxy has series of a job with that name.
    until(lambda: receivers.condition("seed") == ("False", "NotSuppliedByProxies"))
    # A proxy's first report may precede its first delivery; the next follows a minute later.
    until(lambda: receivers.written("seed")["samplesSent"] > 0)
    assert receivers.written("seed")["samplesFailed"] == 0
    assert "series by 1 senders" in receivers.cluster.livery(
        "explain", "access", "-n", SHOP, "seed"
    )

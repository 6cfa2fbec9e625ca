"""What docs/quickstart.md does behind kind: two teams, and `sum by (team)` in a Prometheus."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ROOT, TAG, Cluster, until
from tests.e2e.prometheus import prometheus_manifest

pytestmark = pytest.mark.timeout(600)

MONITORING = f"first-{int(time.time())}"
_TEAMS = ROOT / "examples" / "quickstart" / "teams.yaml"
_QUERY = "sum%20by%20(team)%20(rate(http_requests_total[1m]))"


@pytest.fixture(scope="module")
def teams(cluster: Cluster, prometheus_image: str) -> Iterator[Cluster]:
    """The quick start's two teams, and a Prometheus that discovers pods by their annotations."""
    text = _TEAMS.read_text().replace("livery-injector:0.1.0", f"livery-injector:{TAG}")
    cluster.kubectl("create", "namespace", MONITORING)
    cluster.kubectl("apply", "-f", "-", stdin=text)
    manifest = prometheus_manifest(MONITORING, prometheus_image, ("shop", "bank"))
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    for namespace, name in (("shop", "web"), ("bank", "api")):
        status = ("rollout", "status", f"deployment/{name}", "--timeout=120s")
        cluster.kubectl("-n", namespace, *status)
    status = ("rollout", "status", "statefulset/prometheus", "--timeout=120s")
    cluster.kubectl("-n", MONITORING, *status)
    yield cluster
    for namespace in ("shop", "bank", MONITORING):
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _sums(cluster: Cluster) -> set[str]:
    path = f"/api/v1/namespaces/{MONITORING}/pods/prometheus-0:9090/proxy/api/v1/query"
    found = cluster.get_raw(f"{path}?query={_QUERY}")["data"]["result"]
    return {item["metric"].get("team", "") for item in found}


def test_metrics_are_summed_by_team_and_a_namespace_changes_hands(teams: Cluster) -> None:
    pods = teams.pods("shop", "app=web")
    assert [len(pod["status"]["initContainerStatuses"]) for pod in pods] == [1, 1]
    until(lambda: _sums(teams) == {"frontend", "payments"})

    teams.kubectl("label", "namespace", "shop", "team=backend", "--overwrite")

    until(lambda: "backend" in _sums(teams))


def test_a_pod_of_it_is_explained_by_its_name(teams: Cluster) -> None:
    (pod, _) = teams.pods("shop", "app=web")
    said = teams.livery("explain", "pod", pod["metadata"]["name"], "-n", "shop")

    assert "has a proxy: localhost/livery-sidecar" in said

"""docs/quickstart.md, as a reader follows it: its commands, with a Prometheus of the operator."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Cluster, build_image, until
from tests.e2e.operator import install_operator, remove_operator
from tests.first_hour.blocks import bash_blocks, commands

pytestmark = pytest.mark.timeout(600)

MONITORING = f"first-{int(time.time())}"
_, TEAMS, MONITORS, HANDOVER = bash_blocks("docs/quickstart.md")
_QUERY = "sum%20by%20(team)%20(rate(http_requests_total[1m]))"


@pytest.fixture(scope="module")
def teams(
    cluster: Cluster, prometheus_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The quick start's two teams and its monitors, with the operator's Prometheus."""

    def build(name: str, program: Path) -> str:
        return build_image(name, program, tmp_path_factory.mktemp(name))

    cluster.kubectl("create", "namespace", MONITORING)
    install_operator(cluster, MONITORING, build, prometheus_image)
    with cluster.upgraded():
        for command in commands(MONITORS):
            # A scrape every 30 s would only make the test longer.
            cluster.bash(f"{command} --set monitoring.podMonitor.interval=5s")
        for command in commands(TEAMS):
            said = cluster.bash(command)
        assert said.rstrip().endswith("No problem found.")
        yield cluster
    remove_operator(cluster, MONITORING)
    for namespace in ("shop", "bank", MONITORING):
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _ask(cluster: Cluster, path: str) -> dict[str, list[dict[str, dict[str, str]]]]:
    base = f"/api/v1/namespaces/{MONITORING}/pods/prometheus-k8s-0:9090/proxy/api/v1"
    found: dict[str, list[dict[str, dict[str, str]]]] = cluster.get_raw(f"{base}/{path}")["data"]
    return found


def _sums(cluster: Cluster) -> set[str]:
    found = _ask(cluster, f"query?query={_QUERY}")["result"]
    return {item["metric"].get("team", "") for item in found}


def test_metrics_are_summed_by_team_and_a_namespace_changes_hands(teams: Cluster) -> None:
    until(lambda: _sums(teams) == {"frontend", "payments"})

    for command in commands(HANDOVER):
        teams.bash(command)

    until(lambda: "backend" in _sums(teams))


def test_prometheus_takes_the_alerts_and_scrapes_the_injector(teams: Cluster) -> None:
    until(lambda: len(_ask(teams, "rules")["groups"]) > 3)
    until(lambda: _ask(teams, "query?query=livery_policy_streams")["result"])


def test_a_pod_its_namespace_and_a_series_are_explained(teams: Cluster) -> None:
    (pod, _) = teams.pods("shop", "app=web")
    name = pod["metadata"]["name"]

    said = teams.livery("explain", "pod", name, "-n", "shop")
    assert "has a proxy: localhost/livery-sidecar" in said
    said = teams.livery("explain", "namespace", "shop")
    assert "injects: new pods go to the webhook" in said
    assert 'team="' in said
    assert f"{name}  has a proxy" in said
    said = teams.livery("explain", "series", 'http_requests_total{code="200"}', "-n", "shop",
                        "--pod", name)  # fmt: skip
    assert "from the namespace's label team" in said
    assert "exposed as http_requests_total{" in said

"""The life of an installation: drains, a change of mode, uninstallation."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import NAMESPACE, Cluster, until
from tests.e2e.prometheus import prometheus_manifest
from tests.e2e.workloads import deployment

pytestmark = pytest.mark.timeout(600)

SHOP = f"life-{int(time.time())}"


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[Cluster]:
    """A tenant's namespace with a running workload."""
    cluster.kubectl("create", "namespace", SHOP)
    cluster.kubectl("label", "namespace", SHOP, "livery.dev/inject=enabled", "team=frontend")
    cluster.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "web"))
    cluster.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")
    yield cluster
    cluster.kubectl("delete", "namespace", SHOP, "--wait=false")


def _web(shop: Cluster, name: str = "web") -> str:
    (pod,) = shop.pods(SHOP, f"app={name}")
    assert pod["spec"]["initContainers"][0]["name"] == "livery-proxy"
    return str(pod["metadata"]["name"])


def test_a_prometheus_of_the_cluster_shows_whose_series_they_are(
    shop: Cluster, prometheus_image: str
) -> None:
    manifest = prometheus_manifest(SHOP, prometheus_image, (SHOP,))
    shop.kubectl("apply", "-f", "-", stdin=manifest)
    shop.kubectl("-n", SHOP, "rollout", "status", "statefulset/prometheus", "--timeout=60s")
    path = f"/api/v1/namespaces/{SHOP}/pods/prometheus-0:9090/proxy/api/v1/query?query="

    def teams() -> set[str]:
        answer = json.loads(shop.kubectl("get", "--raw", f"{path}up%7Bteam!%3D%22%22%7D"))
        series = json.loads(shop.kubectl("get", "--raw", f"{path}http_requests_total"))
        found = answer["data"]["result"] + series["data"]["result"]
        assert series["data"]["result"]
        return {item["metric"].get("team", "") for item in found}

    until(lambda: teams() == {"frontend"})
    shop.kubectl("label", "namespace", SHOP, "team=backend", "--overwrite")
    until(lambda: "backend" in teams())


def test_a_drained_node_s_pods_come_back_with_their_proxies(shop: Cluster) -> None:
    before = _web(shop)
    node = shop.get("pod", before, "-n", SHOP)["spec"]["nodeName"]
    started = time.monotonic()
    drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force")
    shop.kubectl(*drain, "--pod-selector=app=web", "--timeout=60s")
    print(f"drained after {time.monotonic() - started:.1f} s")
    try:
        # The disruption budget keeps one of the injector's two pods: there is no other node.
        selector = "--pod-selector=app.kubernetes.io/component=injector"
        with pytest.raises(AssertionError, match="disruption budget"):
            shop.kubectl(*drain, selector, "--timeout=8s")
        deployment = shop.get("deployment", "livery-injector", "-n", NAMESPACE)
        assert deployment["status"]["readyReplicas"] >= 1
    finally:
        shop.kubectl("uncordon", node)
    shop.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")
    assert _web(shop) != before
    shop.kubectl(
        "-n", NAMESPACE, "rollout", "status", "deployment/livery-injector", "--timeout=90s"
    )


def test_a_policy_in_place_of_the_webhook_does_the_same(shop: Cluster) -> None:
    with shop.upgraded("injection.mode=policy"):
        shop.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "by-policy"))
        shop.kubectl("-n", SHOP, "rollout", "status", "deployment/by-policy", "--timeout=120s")
        web = _web(shop, "by-policy")
        until(lambda: "livery_proxy_control_connected 1" in shop.scrape(SHOP, web, 16091), 30)
        assert "a new pod gets its proxy" in shop.livery("doctor")


def test_an_uninstalled_livery_leaves_proxies_that_serve(shop: Cluster) -> None:
    web = _web(shop)
    team = 'team="'
    until(lambda: team in shop.scrape(SHOP, web), 20)
    values = shop.helm("get", "values", "livery", "--output", "json")
    shop.helm("uninstall", "livery", "--wait")
    try:
        for kind in ("mutatingwebhookconfigurations", "mutatingadmissionpolicies"):
            assert shop.get(kind)["items"] == []
        names = shop.kubectl("get", "secrets,leases", "-n", NAMESPACE, "-o", "name")
        # Only Livery's CA is left, because running proxies trust it.
        assert [name for name in names.split() if "livery" in name] == ["secret/livery-ca"]
        assert team in shop.scrape(SHOP, web)
        shop.kubectl("-n", SHOP, "delete", "pod", web)
        shop.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")
    finally:
        install = ("install", "livery", "charts/livery", "--values", "-", "--wait")
        shop.helm_with(values, *install, "--timeout", "3m")


def test_proxies_that_outlived_an_installation_follow_the_next_one(shop: Cluster) -> None:
    shop.kubectl("-n", SHOP, "rollout", "restart", "deployment/web")
    shop.kubectl("-n", SHOP, "rollout", "status", "deployment/web", "--timeout=120s")
    until(lambda: len(shop.pods(SHOP, "app=web")) == 1, 60)
    web = _web(shop)
    until(lambda: "livery_proxy_control_connected 1" in shop.scrape(SHOP, web, 16091), 60)
    values = shop.helm("get", "values", "livery", "--output", "json")
    shop.helm("uninstall", "livery", "--wait")
    install = ("install", "livery", "charts/livery", "--values", "-", "--wait")
    shop.helm_with(values, *install, "--timeout", "3m")

    shop.kubectl("label", "namespace", SHOP, "--overwrite", "team=afterwards")
    until(lambda: 'team="afterwards"' in shop.scrape(SHOP, web), 90)
    assert _web(shop) == web
    shop.kubectl("label", "namespace", SHOP, "--overwrite", "team=frontend")

"""The node role at a real kubelet: its containers' series wear their namespaces' labels."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import NAMESPACE, Cluster, until

pytestmark = pytest.mark.timeout(300)

SHOP = f"node-{int(time.time())}"


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> Iterator[str]:
    """The path of a node proxy behind the API server."""
    upgrade = ("upgrade", "livery", "charts/livery", "--reuse-values", "--timeout", "3m")
    values = ("node.enabled=true", "node.insecureSkipTLSVerify=true")
    cluster.helm(*upgrade, "--wait", *(part for value in values for part in ("--set", value)))
    cluster.kubectl("create", "namespace", SHOP)
    cluster.kubectl("label", "namespace", SHOP, "team=frontend")
    pod = {"image": "localhost/pause:1", "restart": "Never"}
    cluster.kubectl("-n", SHOP, "run", "web", *(f"--{name}={text}" for name, text in pod.items()))
    cluster.kubectl("-n", SHOP, "wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    (proxy,) = cluster.pods(NAMESPACE, "app.kubernetes.io/component=node")
    yield f"/api/v1/namespaces/{NAMESPACE}/pods/{proxy['metadata']['name']}:8080/proxy"
    cluster.kubectl("delete", "namespace", SHOP, "--wait=false")
    cluster.helm(*upgrade, "--set", "node.enabled=false")


def _series(cluster: Cluster, path: str) -> list[str]:
    """Return the namespace's series."""
    text = cluster.kubectl("get", "--raw", path)
    return [line for line in text.splitlines() if f'namespace="{SHOP}"' in line]


@pytest.mark.parametrize("endpoint", ["/metrics/cadvisor", "/metrics/resource"])
def test_a_container_s_series_wear_the_team(cluster: Cluster, node: str, endpoint: str) -> None:
    found = until(lambda: _series(cluster, f"{node}{endpoint}"), 60)

    assert all('team="frontend"' in line for line in found)
    # No timestamp: value and nothing more behind the labels.
    assert all(re.search(r"\} [^ ]+$", line) for line in found)


def test_a_namespace_that_changes_hands_is_seen_at_the_next_scrape(
    cluster: Cluster, node: str
) -> None:
    path = f"{node}/metrics/cadvisor"
    until(lambda: _series(cluster, path), 60)
    cluster.kubectl("label", "namespace", SHOP, "team=backend", "--overwrite")

    until(lambda: all('team="backend"' in line for line in _series(cluster, path)), 10)


def test_what_the_kubelet_says_of_itself_passes(cluster: Cluster, node: str) -> None:
    text = cluster.kubectl("get", "--raw", f"{node}/metrics")

    assert "kubelet_running_pods" in text

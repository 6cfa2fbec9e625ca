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
    """Where a node proxy is asked from within its pod, whose name stands behind the `#`."""
    upgrade = ("upgrade", "livery", "charts/livery", "--reuse-values", "--timeout", "3m")
    values = ("node.enabled=true", "node.insecureSkipTLSVerify=true")
    cluster.helm(*upgrade, "--wait", *(part for value in values for part in ("--set", value)))
    cluster.kubectl("create", "namespace", SHOP)
    cluster.kubectl("label", "namespace", SHOP, "team=frontend")
    pod = {"image": "localhost/pause:1", "restart": "Never"}
    cluster.kubectl("-n", SHOP, "run", "web", *(f"--{name}={text}" for name, text in pod.items()))
    cluster.kubectl("-n", SHOP, "wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    (proxy,) = cluster.pods(NAMESPACE, "app.kubernetes.io/component=node")
    name = proxy["metadata"]["name"]
    for account in ("prometheus", "nobody"):
        cluster.kubectl("-n", SHOP, "create", "serviceaccount", account)
    role = f"{SHOP}-metrics"
    cluster.kubectl("create", "clusterrole", role, "--verb=get", "--resource=nodes/metrics")
    subject = f"--serviceaccount={SHOP}:prometheus"
    cluster.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", subject)
    yield f"http://127.0.0.1:8080{{}}#{name}"
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", role)
    cluster.kubectl("delete", "namespace", SHOP, "--wait=false")
    cluster.helm(*upgrade, "--set", "node.enabled=false")


def _ask(cluster: Cluster, url: str, account: str = "prometheus") -> str:
    """Ask a node proxy from within the cluster, with an account's token."""
    token = cluster.kubectl("-n", SHOP, "create", "token", account).strip()
    code = (
        "import urllib.request as u; r = u.Request("
        f"'{url}', headers={{'Authorization': 'Bearer {token}'}}); "
        "print(u.urlopen(r).read().decode())"
    )
    pod = url.partition("#")[2]
    return cluster.kubectl("exec", "-n", NAMESPACE, pod, "--", "python", "-c", code)


def _series(cluster: Cluster, url: str) -> list[str]:
    """Return the namespace's series."""
    text = _ask(cluster, url)
    return [line for line in text.splitlines() if f'namespace="{SHOP}"' in line]


@pytest.mark.parametrize("endpoint", ["/metrics/cadvisor", "/metrics/resource"])
def test_a_container_s_series_wear_the_team(cluster: Cluster, node: str, endpoint: str) -> None:
    found = until(lambda: _series(cluster, node.format(endpoint)), 60)

    assert all('team="frontend"' in line for line in found)
    # No timestamp: value and nothing more behind the labels.
    assert all(re.search(r"\} [^ ]+$", line) for line in found)


def test_a_namespace_that_changes_hands_is_seen_at_the_next_scrape(
    cluster: Cluster, node: str
) -> None:
    path = node.format("/metrics/cadvisor")
    until(lambda: _series(cluster, path), 60)
    cluster.kubectl("label", "namespace", SHOP, "team=backend", "--overwrite")

    until(lambda: all('team="backend"' in line for line in _series(cluster, path)), 10)


def test_what_the_kubelet_says_of_itself_passes(cluster: Cluster, node: str) -> None:
    assert "kubelet_running_pods" in _ask(cluster, node.format("/metrics"))


def test_who_may_not_read_the_kubelet_s_metrics_is_refused(cluster: Cluster, node: str) -> None:
    with pytest.raises(AssertionError, match="403: Forbidden"):
        _ask(cluster, node.format("/metrics/cadvisor"), "nobody")

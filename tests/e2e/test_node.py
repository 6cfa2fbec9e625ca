"""The node role at a real kubelet: its containers' series have their namespaces' labels."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import NAMESPACE, Cluster, until
from tests.real_parts.prometheus import Prometheus, running_prometheus

pytestmark = pytest.mark.timeout(600)

# Set for kubelets with self-signed certificates, which are kubeadm's default.
SKIPS_VERIFICATION = os.environ.get("E2E_KUBELET_INSECURE") == "true"
SHOP = f"node-{int(time.time())}"


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> Iterator[str]:
    """URL template of a node proxy; the name after `#` is the pod to send requests from."""
    settings = (
        "node.enabled=true", "node.discovery.enabled=true",
        f"node.insecureSkipTLSVerify={json.dumps(SKIPS_VERIFICATION)}",
        "labels.fromPods.include={run}", "node.completeCgroups=true",
    )  # fmt: skip
    with cluster.upgraded(*settings):
        yield from _asked(cluster)


def _asked(cluster: Cluster) -> Iterator[str]:
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
    resources = "--resource=nodes/metrics,nodes/pods"
    cluster.kubectl("create", "clusterrole", role, "--verb=get", resources)
    subject = f"--serviceaccount={SHOP}:prometheus"
    cluster.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", subject)
    yield f"http://127.0.0.1:8080{{}}#{name}"
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", role)
    cluster.kubectl("delete", "namespace", SHOP, "--wait=false")


def _token(cluster: Cluster, account: str) -> str:
    return cluster.kubectl("-n", SHOP, "create", "token", account).strip()


def _ask(cluster: Cluster, url: str, account: str = "prometheus") -> str:
    """Ask a node proxy from within the cluster, with an account's token."""
    token = _token(cluster, account)
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
    # All series with a pod have the pod's label.
    assert all('run="web"' in line for line in found if 'pod="web"' in line)
    # No timestamp: only the value follows the labels.
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
    for path in ("/metrics/cadvisor", "/targets"):
        with pytest.raises(AssertionError, match="403: Forbidden"):
            _ask(cluster, node.format(path), "nobody")


def test_the_targets_are_those_that_prometheus_finds_itself(
    cluster: Cluster, node: str, tmp_path: Path
) -> None:
    url = node.format("/targets")
    name = cluster.get("pod", "-n", NAMESPACE, url.partition("#")[2])["spec"]["nodeName"]

    until(lambda: _same(_own_targets(cluster, name), json.loads(_ask(cluster, url))), 60)
    with _prometheus(tmp_path, name) as prometheus:
        until(lambda: _same(_found(prometheus), json.loads(_ask(cluster, url))), 90)
    shop = [group for group in json.loads(_ask(cluster, url)) if _label(group, "namespace") == SHOP]
    assert {_label(group, "namespace_label_team") for group in shop} <= {"frontend", "backend"}


def _own_targets(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """Return the output of `livery targets`, run in the injector with a permitted token."""
    found = cluster.get("node", node)["status"]["addresses"]
    address = next(item["address"] for item in found if item["type"] == "InternalIP")
    config = {
        "url": f"https://{address}:10250",
        "bearer_token": _token(cluster, "prometheus"),
        "tls_config": {
            "ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            "insecure_skip_verify": SKIPS_VERIFICATION,
        },
    }
    command = ["livery", "targets", "--once", "--config", "/dev/stdin"]
    asked = ("exec", "-i", "-n", NAMESPACE, "deploy/livery-injector", "--", *command)
    targets: list[dict[str, Any]] = json.loads(cluster.kubectl(*asked, stdin=json.dumps(config)))
    return targets


@contextmanager
def _prometheus(folder: Path, node: str) -> Iterator[Prometheus]:
    """Run a Prometheus that discovers the node's pods itself and scrapes none."""
    selector = {"role": "pod", "field": f"spec.nodeName={node}"}
    discovery = {
        "role": "pod", "kubeconfig_file": os.environ["KUBECONFIG"], "selectors": [selector],
    }  # fmt: skip
    job = {
        "job_name": "pods",
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [{"action": "drop"}],
    }
    with running_prometheus(json.dumps({"scrape_configs": [job]}), folder) as running:
        yield running


def _found(prometheus: Prometheus) -> list[dict[str, Any]]:
    answer = json.loads(prometheus.get("/api/v1/targets?state=dropped"))
    found = [target["discoveredLabels"] for target in answer["data"]["droppedTargets"]]
    return [{"targets": [labels.pop("__address__")], "labels": labels} for labels in found]


def _same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Compare targets by address and by the labels that both have."""
    known = [{key for group in groups for key in group["labels"]} for groups in (one, other)]
    both = {key for key in known[0] & known[1] if key.startswith("__meta_")}
    assert len(both) > 20
    rows = [
        sorted(
            (group["targets"][0], sorted((key, group["labels"].get(key, "")) for key in both))
            for group in groups
        )
        for groups in (one, other)
    ]
    assert rows[0] == rows[1], [row for row in rows[0] if row not in rows[1]][:2]
    return True


def _label(group: dict[str, Any], name: str) -> str:
    return str(group["labels"].get(f"__meta_kubernetes_{name}", ""))


@pytest.mark.parametrize("through_the_api_server", [False, True])
def test_a_deployment_serves_every_node_behind_a_service(
    cluster: Cluster, node: str, through_the_api_server: bool
) -> None:
    del node
    settings = [
        "node.mode=deployment", "node.replicas=1", "node.discovery.enabled=false",
        f"node.viaApiserver={str(through_the_api_server).lower()}",
    ]  # fmt: skip
    role = f"{SHOP}-proxy"
    if through_the_api_server:
        # The user creates this: it allows remote execution in every pod, so the chart never does.
        cluster.kubectl("create", "clusterrole", role, "--verb=get", "--resource=nodes/proxy")
        subject = f"--serviceaccount={NAMESPACE}:livery-node"
        cluster.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", subject)
    with cluster.upgraded(*settings):
        proxies = until(lambda: _deployed(cluster))
        url = f"http://livery-node.{NAMESPACE}.svc:8080{{}}#{proxies[0]['metadata']['name']}"
        groups = until(lambda: json.loads(_ask(cluster, url.format("/nodes"))))
        assert groups[0]["targets"] == [f"livery-node.{NAMESPACE}.svc:8080"]
        path = groups[0]["labels"]["__metrics_path__"]
        assert path == f"/nodes/{_label(groups[0], 'node_name')}/metrics/cadvisor"
        found = until(lambda: _series(cluster, url.format(path)), 60)
        assert all('team="' in line for line in found)
    if through_the_api_server:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", role)


def _deployed(cluster: Cluster) -> list[dict[str, Any]]:
    """Return the Deployment's pods once no pod of the DaemonSet is left."""
    pods = cluster.pods(NAMESPACE, "app.kubernetes.io/component=node")
    owners = {owner["kind"] for pod in pods for owner in pod["metadata"]["ownerReferences"]}
    return pods if owners == {"ReplicaSet"} else []

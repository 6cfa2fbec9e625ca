"""What happens to an installation in its life: drains, another mode, its end."""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import NAMESPACE, TAG, Cluster, until
from tests.e2e.workloads import deployment
from tests.real_parts.prometheus import prometheus_program

pytestmark = pytest.mark.timeout(300)

SHOP = f"life-{int(time.time())}"
_PROMETHEUS = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: prometheus, namespace: {shop}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
subjects: [{{kind: ServiceAccount, name: default, namespace: {shop}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: prometheus, namespace: {shop}}}
data:
  prometheus.yml: |
    global: {{scrape_interval: 1s, scrape_timeout: 1s}}
    scrape_configs:
    - job_name: kubernetes-pods
      kubernetes_sd_configs: [{{role: pod, namespaces: {{names: [{shop}]}}}}]
      relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: true
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        target_label: __metrics_path__
        regex: (.+)
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: ([^:]+)(?::\\d+)?;(\\d+)
        replacement: $1:$2
        target_label: __address__
---
apiVersion: v1
kind: Pod
metadata: {{name: prometheus, namespace: {shop}, labels: {{app: prometheus}}}}
spec:
  containers:
  - name: prometheus
    image: localhost/livery-prometheus:{tag}
    imagePullPolicy: IfNotPresent
    args: [--config.file=/etc/prometheus/prometheus.yml, --storage.tsdb.path=/data]
    volumeMounts:
    - {{name: config, mountPath: /etc/prometheus}}
    - {{name: data, mountPath: /data}}
  volumes:
  - {{name: config, configMap: {{name: prometheus}}}}
  - {{name: data, emptyDir: {{}}}}
"""


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
    shop: Cluster, tmp_path: Path
) -> None:
    shutil.copy(prometheus_program(), tmp_path / "prometheus")
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE=python:3.13-slim\nFROM ${BASE_IMAGE}\nCOPY prometheus /bin/prometheus\n"
        'ENTRYPOINT ["/bin/prometheus"]\n'
    )
    build = shlex.split(os.environ["E2E_BUILD_IMAGE"])
    image = f"localhost/livery-prometheus:{TAG}"
    dockerfile = str(tmp_path / "Dockerfile")
    subprocess.run([*build, image, str(tmp_path), "-f", dockerfile], check=True)
    shop.kubectl("apply", "-f", "-", stdin=_PROMETHEUS.format(shop=SHOP, tag=TAG))
    shop.kubectl("-n", SHOP, "wait", "--for=condition=Ready", "pod/prometheus", "--timeout=60s")
    path = f"/api/v1/namespaces/{SHOP}/pods/prometheus:9090/proxy/api/v1/query?query="

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
        # One of the injector's two pods stays: its budget holds while there is no other node.
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
    upgrade = ("upgrade", "livery", "charts/livery", "--reuse-values", "--wait", "--timeout", "3m")
    shop.helm(*upgrade, "--set", "injection.mode=policy")
    try:
        shop.kubectl("apply", "-f", "-", stdin=deployment(SHOP, "by-policy"))
        shop.kubectl("-n", SHOP, "rollout", "status", "deployment/by-policy", "--timeout=120s")
        web = _web(shop, "by-policy")
        until(lambda: "livery_proxy_control_connected 1" in shop.scrape(SHOP, web, 16091), 30)
        assert "a new pod gets its proxy" in shop.livery("doctor")
    finally:
        shop.helm(*upgrade, "--set", "injection.mode=webhook")


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
        # Of Livery nothing is left but the CA, which running proxies trust.
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

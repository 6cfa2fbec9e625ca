"""A real Prometheus with the usual job finds injected pods, and scrapes their proxies."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from tests.cluster.fixtures import Release
from tests.cluster.injector import label_for_injection, make_shop, running_injector, until
from tests.cluster.kubelet import played_pod
from tests.real_parts.kubernetes import ApiServer
from tests.real_parts.ports import free_port
from tests.real_parts.presence import have
from tests.real_parts.prometheus import (
    Prometheus,
    debian_prometheus_program,
    prometheus_program,
    running_prometheus,
)
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio

# The job of Prometheus's own example, which charts copy.
_CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: kubernetes-pods
  kubernetes_sd_configs:
  - {{role: pod, kubeconfig_file: {kubeconfig}, namespaces: {{names: [{namespace}]}}}}
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
    action: keep
    regex: true
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    action: replace
    target_label: __metrics_path__
    regex: (.+)
  - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
    action: replace
    regex: ([^:]+)(?::\\d+)?;(\\d+)
    replacement: $1:$2
    target_label: __address__
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
"""


# Debian's build has no Kubernetes service discovery.
_STATIC = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: pods
  static_configs: [{{targets: ["{target}"], labels: {{namespace: {namespace}, pod: {pod}}}}}]
"""


@pytest.mark.parametrize(
    ("program", "config"),
    [(prometheus_program, _CONFIG), (debian_prometheus_program, _STATIC)],
    ids=["3.x-by-discovery", "2.42"],
)
async def test_a_label_of_the_namespace_is_in_the_query_s_answer(
    api_server: ApiServer,
    client: KubeClient,
    release: Release,
    tmp_path: Path,
    program: Callable[[], Path],
    config: str,
) -> None:
    found = have(program)
    shop = await asyncio.to_thread(make_shop, client)
    body = b"# TYPE requests counter\nrequests 5\n"
    async with App(http(body)) as app, running_injector(release) as running:
        label_for_injection(shop, release.own, team="frontend")
        pod = await _make_pod(shop, app.target)
        address, control = "127.40.0.7", running.service.ports[1]
        port = pod["metadata"]["annotations"]["prometheus.io/port"]
        facts = {"target": f"{address}:{port}", "pod": pod["metadata"]["name"]}
        text = config.format(kubeconfig=api_server.kubeconfig, namespace=shop.name, **facts)
        with (
            played_pod(shop, pod, address, control, tmp_path),
            running_prometheus(text, tmp_path / "prometheus", found) as prometheus,
        ):
            labels = await _labels(prometheus, 'requests{team="frontend"}')
            assert labels["namespace"] == shop.name
            assert labels["pod"] == pod["metadata"]["name"]
            assert labels["instance"].startswith(f"{address}:")
            await asyncio.to_thread(shop.label, team="backend")
            await _labels(prometheus, 'requests{team="backend"}')
            # Only the proxy is a target: the application is not discovered.
            assert len(prometheus.query("up")) == 1


async def _make_pod(shop: Any, target: str) -> dict[str, Any]:
    """Create pods until the API server calls the webhook; returns the first injected pod."""
    port = target.rpartition(":")[2].partition("/")[0]
    for number in itertools.count():
        annotations = {
            "prometheus.io/scrape": "true", "prometheus.io/port": port,
            "livery.dev/port": str(_free_pair()),
        }  # fmt: skip
        pod: dict[str, Any] = await asyncio.to_thread(shop.pod, f"web-{number}", **annotations)
        if pod["spec"].get("initContainers"):
            return pod
        path = f"{shop.path}/pods/web-{number}"
        query = {"gracePeriodSeconds": "0"}
        await asyncio.to_thread(shop.client.request, "DELETE", path, query=query)
        await asyncio.sleep(0.1)
    raise AssertionError("not reached")


def _free_pair() -> int:
    while True:
        first = free_port()
        if first < 65_000 and free_port() != first + 1:
            return first


async def _labels(prometheus: Prometheus, query: str) -> dict[str, str]:
    result: list[dict[str, Any]] = []

    async def is_there() -> bool:
        nonlocal result
        result = await asyncio.to_thread(prometheus.query, query)
        return len(result) == 1

    await until(is_there)
    labels: dict[str, str] = result[0]["metric"]
    return labels

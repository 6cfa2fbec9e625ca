"""The chart's PodMonitors in a real Prometheus: no pod can claim another's identity."""

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real_parts.chart import REGISTRY
from tests.real_parts.kubernetes import helm_program
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, promtool_program, running_prometheus
from tests.sidecar.apps import App, http

CHART = Path(__file__).parent.parent.parent / "charts" / "livery"
_FORGED = b'm{namespace="victim",pod="victim-0",container="app"} 1\n'
_EXPORTERS = "control.grants.exporters={monitoring/kube-state-metrics}"


def _monitors(*values: str) -> dict[str, dict[str, Any]]:
    settings = [part for value in values for part in ("--set", value)]
    ran = subprocess.run(
        [have(helm_program), "template", "livery", CHART, "--namespace", "livery-system",
         "--set", "monitoring.podMonitor.enabled=true", *REGISTRY, *settings],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    objects = [item for item in yaml.safe_load_all(ran.stdout) if item]
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == "PodMonitor"}


def _snake(value: Any) -> Any:
    if isinstance(value, list):
        return [_snake(item) for item in value]
    if isinstance(value, dict):
        return {
            re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", key): _snake(item)
            for key, item in value.items()
        }
    return value


def _config(endpoint: dict[str, Any], port: int, **meta: str) -> str:
    """Return the job that the operator makes from an endpoint, for one pod."""
    job = {
        "job_name": "workloads",
        "honor_labels": endpoint.get("honorLabels", False),
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {
            "namespace": "attacker", "pod": "attacker-0", "container": "livery-proxy", **meta,
        }}],
        "relabel_configs": _snake(endpoint.get("relabelings", [])),
    }  # fmt: skip
    timing = {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
    return yaml.safe_dump({"global": timing, "scrape_configs": [job]})


async def _labels(running: Prometheus, query: str) -> dict[str, str]:
    async with asyncio.timeout(20):
        while True:
            found = await asyncio.to_thread(running.query, query)
            if found:
                return dict(found[0]["metric"])
            await asyncio.sleep(0.1)


@pytest.mark.anyio
async def test_a_series_cannot_say_that_it_is_another_namespaces(tmp_path: Path) -> None:
    have(promtool_program)
    endpoint = _monitors()["livery-workloads"]["spec"]["podMetricsEndpoints"][0]
    async with App(http(_FORGED)) as app:
        with running_prometheus(_config(endpoint, app.port), tmp_path) as running:
            labels = await _labels(running, "m")

    assert (labels["namespace"], labels["pod"]) == ("attacker", "attacker-0")
    assert (labels["exported_namespace"], labels["container"]) == ("victim", "app")


def test_without_exporters_there_is_one_monitor() -> None:
    assert set(_monitors()) == {"livery-workloads"}


@pytest.mark.anyio
async def test_an_exporter_speaks_of_others_only_in_a_granted_namespace(tmp_path: Path) -> None:
    have(promtool_program)
    monitors = _monitors(_EXPORTERS)
    exporters = monitors["livery-exporters"]["spec"]
    meta = {
        "__meta_kubernetes_namespace": "monitoring",
        "__meta_kubernetes_pod_annotationpresent_livery_dev_namespace_label": "true",
    }
    assert exporters["namespaceSelector"] == {"matchNames": ["monitoring"]}
    async with App(http(_FORGED)) as app:
        config = _config(exporters["podMetricsEndpoints"][0], app.port, **meta)
        with running_prometheus(config, tmp_path / "a") as running:
            assert (await _labels(running, "m"))["namespace"] == "victim"
        endpoint = monitors["livery-workloads"]["spec"]["podMetricsEndpoints"][0]
        with running_prometheus(_config(endpoint, app.port, **meta), tmp_path / "b") as running:
            await asyncio.sleep(1)
            assert not await asyncio.to_thread(running.query, "m")


def test_nodes_proxies_keep_what_the_kubelet_says() -> None:
    examples = CHART.parent.parent / "examples" / "node" / "monitors.yaml"
    found = [
        endpoint.get("honorLabels", False)
        for item in yaml.safe_load_all(examples.read_text())
        if item["kind"] in ("PodMonitor", "ServiceMonitor")
        for endpoint in item["spec"].get("endpoints", item["spec"].get("podMetricsEndpoints"))
        if "path" in endpoint
    ]

    assert found
    assert all(found)

"""A real Prometheus scrapes a real proxy."""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bench.kubelet_text import cadvisor_text
from sidecar.model.policy.node import KUBELET_ENDPOINTS
from tests.real_parts.presence import have
from tests.real_parts.prometheus import (
    Prometheus,
    prometheus_program,
    promtool_program,
    running_prometheus,
)
from tests.sidecar.apps import OPENMETRICS, App, http
from tests.sidecar.kubelets import node_proxy, pod, tell_pods
from tests.sidecar.model.exposition.test_stream import CADVISOR
from tests.sidecar.processes import running_proxy

pytestmark = pytest.mark.anyio

_TEXT = b"# TYPE requests counter\nrequests 5\n"
_EXEMPLAR = b'# TYPE requests counter\nrequests_total 5 # {trace_id="abc"} 1 %d.0\n# EOF\n'


@pytest.fixture(scope="session")
def _prometheus() -> None:
    have(prometheus_program)


def _config(port: int) -> str:
    return f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: pods
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


async def _wait_for(running: Prometheus, query: str, value: str) -> dict[str, str]:
    async with asyncio.timeout(10):
        while True:
            result: list[dict[str, Any]] = await asyncio.to_thread(running.query, query)
            if [item["value"][1] for item in result] == [value]:
                labels: dict[str, str] = result[0]["metric"]
                return labels
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("_prometheus")
async def test_series_carry_their_labels_and_up_tells_of_the_application(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("labels: {team: blue}")
    arguments = ("--policy", str(policy))
    async with App(http(_TEXT)) as app:
        with (
            running_proxy("--target", app.target, *arguments, log=tmp_path / "log") as proxy,
            running_prometheus(_config(proxy.port()), tmp_path / "prometheus") as running,
        ):
            labels = await _wait_for(running, "requests", "5")
            assert labels["team"] == "blue"
            await _wait_for(running, "up", "1")
            app.answer = http(b"", status="500 Oh")
            await _wait_for(running, "up", "0")


@pytest.mark.usefixtures("_prometheus")
async def test_openmetrics_with_exemplars_is_ingested(tmp_path: Path) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(http(_EXEMPLAR % time.time(), OPENMETRICS))

    async with App(answer) as app:
        with (
            running_proxy("--target", app.target, log=tmp_path / "log") as proxy,
            running_prometheus(_config(proxy.port()), tmp_path / "prometheus") as running,
        ):
            await _wait_for(running, "requests_total", "5")
            await _wait_for(running, "up", "1")

    assert "Accept: application/openmetrics-text;version=1.0.0" in app.requests[0]


def _node_config(port: int, *, honors: bool) -> str:
    """A job for nodes, or the usual one for annotated pods, which sets namespace and pod."""
    labels = "{namespace: livery-system, pod: livery-node-x}"
    return f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: nodes
  honor_labels: {str(honors).lower()}
  metrics_path: /metrics/cadvisor
  static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {labels}}}]
- job_name: pods
  http_sd_configs: [{{url: "http://127.0.0.1:{port}/targets", refresh_interval: 1s}}]
  relabel_configs: [{{action: drop}}]
"""


@pytest.mark.usefixtures("_prometheus")
@pytest.mark.parametrize(
    ("honors", "namespace"), [(True, "namespace"), (False, "exported_namespace")]
)
async def test_a_node_s_series_wear_their_team_whatever_the_job_does_to_namespaces(
    tmp_path: Path, honors: bool, namespace: str
) -> None:
    async with node_proxy(tmp_path, http(CADVISOR), "--discovery") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(pod("shop", "web-0"))
        config = _node_config(kubelet.role.ports.bound["metrics"], honors=honors)
        with running_prometheus(config, tmp_path / "prometheus") as running:
            query = 'container_last_seen{team="frontend"}'
            labels = await _wait_for(running, query, "1700000000")
            assert labels[namespace] == "shop"
            assert labels["namespace"] == ("shop" if honors else "livery-system")
            # A new owner: the old series ends at once, so no series is counted twice.
            kubelet.tell({"namespaces": {"shop": {"team": "backend"}}})
            await _wait_for(running, 'count(container_last_seen{team="backend"})', "1")
            async with asyncio.timeout(10):
                while await asyncio.to_thread(running.query, query):
                    await asyncio.sleep(0.05)


@pytest.mark.usefixtures("_prometheus")
async def test_prometheus_reads_the_targets_and_keeps_them_while_the_kubelet_fails(
    tmp_path: Path,
) -> None:
    config = tmp_path / "discovery.yaml"
    config.write_text("refresh_interval: 1ms")
    discovery = ("--discovery-config", str(config))
    async with node_proxy(tmp_path, http(CADVISOR), *discovery) as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(pod("shop", "web-0"), pod("bank", "app"))
        port = kubelet.role.ports.bound["metrics"]
        with running_prometheus(_node_config(port, honors=True), tmp_path / "p") as running:

            async def addresses() -> list[str]:
                answer = await asyncio.to_thread(running.get, "/api/v1/targets?state=dropped")
                found = json.loads(answer)["data"]["droppedTargets"]
                return [
                    target["discoveredLabels"]["__meta_kubernetes_namespace"] for target in found
                ]

            async with asyncio.timeout(10):
                while sorted(await addresses()) != ["bank", "shop"]:
                    await asyncio.sleep(0.05)
            asked = len(kubelet.app.requests)
            kubelet.app.answers["/pods"] = http(b"", status="500 Oh")
            async with asyncio.timeout(10):
                while sum("GET /pods" in one for one in kubelet.app.requests[asked:]) < 2:
                    await asyncio.sleep(0.05)
            assert sorted(await addresses()) == ["bank", "shop"]


async def test_promtool_says_the_same_of_labelled_text_as_of_the_kubelet_s(tmp_path: Path) -> None:
    program = have(promtool_program)

    def check(text: bytes) -> tuple[int, bytes]:
        ran = subprocess.run(
            [program, "check", "metrics"], input=text, capture_output=True, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    text = cadvisor_text(5)
    async with node_proxy(tmp_path, http(text), "--complete-cgroups") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(pod("shop", "web-0"))
        kubelet.tell({"namespaces": {f"tenant-{n}": {"team": "a", "b": "c"} for n in range(5)}})
        for endpoint in KUBELET_ENDPOINTS:
            labelled = (await kubelet.get(endpoint)).content
            assert labelled.count(b'team="a"') == sum(b"{" in line for line in text.splitlines())
            assert check(labelled) == check(text)
        assert check((await kubelet.admin()).encode()) == (0, b"")

"""The node role for all nodes: kubelets that the policy names."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.sidecar.apps import App, http, until
from tests.sidecar.kubelets import POLICY, kubelet_tls, node_proxy, pod, tell_pods
from tests.sidecar.model.exposition.test_stream import CADVISOR, LABELLED

pytestmark = pytest.mark.anyio

TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"


async def test_every_node_of_the_policy_is_scraped_by_its_name(tmp_path: Path) -> None:
    async with (
        App(http(b"other 1\n"), tls=kubelet_tls()) as other,
        node_proxy(tmp_path, http(CADVISOR), "--all-nodes") as kubelet,
    ):
        nodes = {
            "worker-1": f"https://127.0.0.1:{kubelet.app.port}",
            "worker-2": f"https://127.0.0.1:{other.port}",
        }
        kubelet.tell({**POLICY, "nodes": nodes})
        first = await kubelet.get("/nodes/worker-1/metrics/cadvisor")
        assert (first.status_code, first.content) == (200, LABELLED)
        assert (await kubelet.get("/nodes/worker-2/metrics")).content == b"other 1\n"
        for path, status in (("/nodes/worker-3/metrics", 404), ("/metrics/cadvisor", 404)):
            assert (await kubelet.get(path)).status_code == status
        assert "livery_node_kubelets 2\n" in await kubelet.admin()

        kubelet.tell({**POLICY, "nodes": {"worker-2": nodes["worker-1"]}})
        assert (await kubelet.get("/nodes/worker-1/metrics/cadvisor")).status_code == 404
        assert (await kubelet.get("/nodes/worker-2/metrics/cadvisor")).content == LABELLED


async def test_nodes_are_told_as_targets_behind_the_address_that_was_asked(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR), "--all-nodes") as kubelet:
        assert (await kubelet.get("/nodes")).status_code == 503
        kubelet.tell({**POLICY, "nodes": {"b": "10.0.0.2", "a": "10.0.0.1"}})
        groups = (await kubelet.get("/nodes", Host="livery-node.livery-system:8080")).json()
        assert [group["labels"]["__metrics_path__"] for group in groups] == [
            "/nodes/a/metrics/cadvisor",
            "/nodes/b/metrics/cadvisor",
        ]
        assert groups[0]["targets"] == ["livery-node.livery-system:8080"]
        assert groups[0]["labels"]["instance"] == "a"
        assert groups[0]["labels"]["__scheme__"] == "http"
        both = await kubelet.get("/nodes?endpoint=/metrics&endpoint=/metrics/cadvisor")
        assert len(both.json()) == 4
        assert (await kubelet.get("/nodes?endpoint=/x")).status_code == 400
        assert (await kubelet.get("/nodes", Host="me@evil.example/x")).status_code == 400


async def test_pods_of_all_nodes_are_told_at_once_or_not_at_all(tmp_path: Path) -> None:
    config = tmp_path / "discovery.yaml"
    config.write_text("refresh_interval: 1ms")
    discovery = ("--all-nodes", "--discovery-config", str(config))
    async with (
        App(tell_pods(pod("bank", "b", ip="10.0.0.2")), tls=kubelet_tls()) as other,
        node_proxy(tmp_path, tell_pods(pod("shop", "a")), *discovery) as kubelet,
    ):
        assert (await kubelet.get("/targets")).status_code == 503
        nodes = {
            "worker-1": f"https://127.0.0.1:{kubelet.app.port}",
            "worker-2": f"https://127.0.0.1:{other.port}",
        }
        kubelet.tell({**POLICY, "nodes": nodes})

        async def addresses(path: str) -> list[str] | int:
            response = await kubelet.get(path)
            await asyncio.sleep(0.01)
            if response.status_code != 200:
                return response.status_code
            return [address for group in response.json() for address in group["targets"]]

        both = ["10.0.0.1:80", "10.0.0.2:80"]
        assert await addresses("/targets") == both
        assert await addresses("/nodes/worker-2/targets") == both[1:]
        assert await addresses("/nodes/worker-3/targets") == 404
        other.answer = http(b"", status="500 Oh")
        assert await addresses("/targets") == 502
        assert await addresses("/targets?stale=true") == both
        assert await addresses("/nodes/worker-1/targets") == both[:1]
        kubelet.tell({**POLICY, "nodes": {"worker-1": nodes["worker-1"]}})
        assert await addresses("/targets") == both[:1]
        config.write_text("url: https://10.0.0.9:10250")
        assert await addresses("/targets") == 502


async def test_more_nodes_than_a_pod_s_proxy_has_clients_are_scraped_at_once(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(CADVISOR))

    async with node_proxy(tmp_path, wait, "--all-nodes") as kubelet:
        url = f"https://127.0.0.1:{kubelet.app.port}"
        names = [f"worker-{n}" for n in range(40)]
        kubelet.tell({**POLICY, "nodes": dict.fromkeys(names, url)})
        scrapes = [
            asyncio.create_task(kubelet.get(f"/nodes/{name}/metrics/cadvisor")) for name in names
        ]
        await until(lambda: len(kubelet.app.requests) == 40, 30)
        gate.set()
        assert {response.content for response in await asyncio.gather(*scrapes)} == {LABELLED}


async def test_of_too_many_nodes_at_once_the_rest_wait_within_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.roles.node.role.MAX_UNDER_WAY", 2)
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(CADVISOR))

    async with node_proxy(tmp_path, wait, "--all-nodes") as kubelet:
        url = f"https://127.0.0.1:{kubelet.app.port}"
        kubelet.tell({**POLICY, "nodes": dict.fromkeys("abcd", url)})
        scrapes = [asyncio.create_task(kubelet.get(f"/nodes/{name}/metrics")) for name in "abc"]
        await until(lambda: len(kubelet.app.requests) == 2)
        late = await kubelet.get("/nodes/d/metrics", **{TIMEOUT: "0.2"})
        assert (late.status_code, "no scrape slot became free" in late.text) == (504, True)
        assert len(kubelet.app.requests) == 2
        gate.set()
        whole = await asyncio.gather(*scrapes)
        assert {response.content for response in whole} == {LABELLED}
        assert (await kubelet.get("/nodes/d/metrics")).content == LABELLED


async def test_what_is_remembered_of_all_nodes_is_bounded(tmp_path: Path) -> None:
    lines = b"".join(b'a{namespace="shop",id="%06d%s"} 1\n' % (n, b"x" * 200) for n in range(2500))
    async with node_proxy(tmp_path, http(lines), "--all-nodes", "--remember-mib=1") as kubelet:
        url = f"https://127.0.0.1:{kubelet.app.port}"
        kubelet.tell({**POLICY, "nodes": dict.fromkeys("abc", url)})
        for name in "abcabc":
            response = await kubelet.get(f"/nodes/{name}/metrics/cadvisor")
            assert response.text.count('team="frontend"') == 2500
            total = sum(one.cached_bytes for one in kubelet.role.kubelets.values())
            largest = max(one.cached_bytes for one in kubelet.role.kubelets.values())
            assert total <= (1 << 20) + largest
        assert len(json.dumps(list(kubelet.role.kubelets))) == len('["a", "b", "c"]')

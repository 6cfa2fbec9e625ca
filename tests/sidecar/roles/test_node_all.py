"""The node role for all nodes: kubelets that the policy names."""

import json
from pathlib import Path

import pytest

from tests.sidecar.apps import App, http
from tests.sidecar.kubelets import POLICY, kubelet_tls, node_proxy
from tests.sidecar.model.test_streaming import CADVISOR, LABELLED

pytestmark = pytest.mark.anyio

ALL = ["--all-nodes"]


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
        both = await kubelet.get("/nodes?endpoint=/metrics&endpoint=/metrics/cadvisor&endpoint=/x")
        assert len(both.json()) == 4


async def test_what_is_remembered_of_all_nodes_is_bounded(tmp_path: Path) -> None:
    lines = b"".join(b'a{namespace="shop",id="%06d%s"} 1\n' % (n, b"x" * 200) for n in range(2500))
    async with node_proxy(tmp_path, http(lines), "--all-nodes", "--remember-mib=1") as kubelet:
        url = f"https://127.0.0.1:{kubelet.app.port}"
        kubelet.tell({**POLICY, "nodes": dict.fromkeys("abc", url)})
        for name in "abcabc":
            response = await kubelet.get(f"/nodes/{name}/metrics/cadvisor")
            assert response.text.count('team="frontend"') == 2500
            total = sum(one.remembered_bytes for one in kubelet.role._kubelets.values())
            largest = max(one.remembered_bytes for one in kubelet.role._kubelets.values())
            assert total <= (1 << 20) + largest
        assert len(json.dumps(list(kubelet.role._kubelets))) == len('["a", "b", "c"]')

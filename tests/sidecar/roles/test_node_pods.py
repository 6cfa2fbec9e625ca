"""The node role and the kubelet's list of pods: targets, labels of pods, bare cgroups."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.sidecar.apps import http
from tests.sidecar.kubelets import node_proxy, pod, tell_pods
from tests.sidecar.model.test_streaming import CADVISOR

pytestmark = pytest.mark.anyio

UID = "12345678-5f3a-4c1b-9d2e-0123456789ab"
ID = "ab" * 32
SLICE = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"
BARE = f"""\
# TYPE container_memory_rss gauge
container_memory_rss{{id="/",image=""}} 9
container_memory_rss{{id="{SLICE}",image=""}} 1
container_memory_rss{{id="{SLICE}/crio-{ID}.scope",image="web:1",name="n"}} 2
container_memory_rss{{id="/system.slice/sshd.service"}} 3
""".encode()
WEB = pod("shop", "web-0", uid=UID, id=f"cri-o://{ID}", labels={"app": "web", "team": "forged"})


async def test_targets_are_told_with_their_namespaces_labels(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR), "--discovery") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(WEB, pod("bank", "x"))
        response = await kubelet.get("/targets")

        assert response.headers["content-type"] == "application/json"
        labels = [group["labels"] for group in response.json()]
        teams = [one["__meta_kubernetes_namespace_label_team"] for one in labels]
        assert teams == ["payments", "frontend"]
        assert "Authorization: Bearer secret-token\r\n" in kubelet.app.requests[0]
        assert (
            await kubelet.get("/targets", **{"Accept-Encoding": "gzip"})
        ).json() == response.json()
        assert "livery_node_discovery_up 1\n" in await kubelet.admin()


async def test_targets_are_never_falsely_empty(tmp_path: Path) -> None:
    config = tmp_path / "discovery.yaml"
    config.write_text("refresh_interval: 1ms")
    async with node_proxy(tmp_path, http(CADVISOR), "--discovery-config", str(config)) as kubelet:
        kubelet.app.answers["/pods"] = http(b"", status="403 Forbidden")
        assert (await kubelet.get("/targets?stale=true")).status_code == 502
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        await asyncio.sleep(0.01)
        good = await kubelet.get("/targets")
        kubelet.app.answers["/pods"] = http(b"", status="500 Oh")
        await asyncio.sleep(0.01)
        failed = await kubelet.get("/targets")
        assert (failed.status_code, failed.text) == (502, "the kubelet answered 500\n")
        assert (await kubelet.get("/targets?stale=true")).json() == good.json() != []
        assert "livery_node_discovery_up 0\n" in await kubelet.admin()
        config.write_text("bearer_token: a\nbasic_auth: {}\n")
        await asyncio.sleep(0.01)
        assert "bearer_token and basic_auth" in (await kubelet.get("/targets")).text
        assert (await kubelet.get("/targets?stale=true")).json() == good.json()
        assert (await kubelet.get()).status_code == 200


async def test_targets_are_not_served_where_nobody_asked_for_them(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        assert (await kubelet.get("/targets")).status_code == 404


async def test_series_wear_labels_of_their_pods_but_never_another_team(tmp_path: Path) -> None:
    labels = ["--pod-label", "app", "--pod-label", "team", "--pod-annotation", "own*"]
    async with node_proxy(tmp_path, http(CADVISOR), *labels) as kubelet:
        kubelet.app.answers["/pods"] = tell_pods({**WEB, "metadata": {
            **WEB["metadata"], "annotations": {"owner": "ann", "other": "x"},
        }})  # fmt: skip
        text = (await kubelet.get()).text

        assert 'pod="web-0",team="frontend",app="web",owner="ann"} ' in text
        assert "forged" not in text
        assert "livery_node_pods_up 1\n" in await kubelet.admin()


async def test_a_pod_that_is_relabelled_is_so_in_the_next_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kubelet_pods.REFRESH_SECONDS", 0.0)
    async with node_proxy(tmp_path, http(CADVISOR), "--pod-label", "app") as kubelet:
        for app in ("one", "two"):
            kubelet.app.answers["/pods"] = tell_pods(pod("shop", "web-0", labels={"app": app}))
            assert f'team="frontend",app="{app}"}} ' in (await kubelet.get()).text
        kubelet.app.answers["/pods"] = tell_pods()
        assert "app=" not in (await kubelet.get()).text


async def test_a_cgroup_without_a_namespace_is_its_pod_s(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(BARE), "--complete-cgroups") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        lines = (await kubelet.get()).text.splitlines()

        owner = 'namespace="shop",pod="web-0"'
        assert lines == [
            "# TYPE container_memory_rss gauge",
            'container_memory_rss{id="/"} 9',
            f'container_memory_rss{{id="{SLICE}",{owner},team="frontend"}} 1',
            f'container_memory_rss{{id="{SLICE}/crio-{ID}.scope",image="web:1",name="n",{owner},'
            'container="web",team="frontend"} 2',
            'container_memory_rss{id="/system.slice/sshd.service"} 3',
        ]


async def test_a_container_that_is_told_later_is_completed_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kubelet_pods.REFRESH_SECONDS", 0.0)
    async with node_proxy(tmp_path, http(BARE), "--complete-cgroups") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods()
        assert "shop" not in (await kubelet.get()).text
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        assert (await kubelet.get()).text.count('namespace="shop"') == 2


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        (http(b"", status="403 Forbidden"), "may not get nodes/pods"),
        (http(b"{}", kind="application/json"), "no list `items`"),
        (http(b"<html>", kind="text/html"), "in place of application/json"),
        (http(b" " * ((16 << 20) + 1), kind="application/json"), "more than 16 MiB"),
    ],
)
async def test_without_pods_no_series_goes_out_unlabelled_and_known_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pods: bytes, reason: str
) -> None:
    monkeypatch.setattr("sidecar.kubelet_pods.REFRESH_SECONDS", 0.0)
    async with node_proxy(tmp_path, http(CADVISOR), "--pod-label", "app") as kubelet:
        kubelet.app.answers["/pods"] = pods
        response = await kubelet.get()
        assert (response.status_code, reason in response.text) == (502, True)
        assert "livery_node_pods_up 0\n" in await kubelet.admin()
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        assert 'app="web"' in (await kubelet.get()).text
        kubelet.app.answers["/pods"] = pods
        assert 'app="web"' in (await kubelet.get()).text
        assert "livery_node_pods_up 0\n" in await kubelet.admin()
        assert len(kubelet.app._open) <= 4


async def test_five_hundred_pods_whose_keys_fall_together_are_told_alike_each_time(
    tmp_path: Path,
) -> None:
    keys = {"a.b": "1", "a-b": "2", "a_b": "3"}
    pods = [
        pod("shop", f"web-{n}", labels=keys, ip=f"10.0.{n // 250}.{n % 250}") for n in range(500)
    ]
    config = tmp_path / "discovery.yaml"
    config.write_text(json.dumps({"refresh_interval": "1ms"}))
    async with node_proxy(tmp_path, http(CADVISOR), "--discovery-config", str(config)) as kubelet:
        bodies = set()
        for order in (pods, list(reversed(pods))):
            kubelet.app.answers["/pods"] = tell_pods(*order)
            bodies.add((await kubelet.get("/targets")).content)
            await asyncio.sleep(0.01)
        (body,) = bodies
        assert len(json.loads(body)) == 500
        assert body.count(b'"__meta_kubernetes_pod_label_a_b_conflict1": "2"') == 500

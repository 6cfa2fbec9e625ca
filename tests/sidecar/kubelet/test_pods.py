"""The node role and the kubelet's pod list: targets, pod labels, bare cgroups."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.stream import StreamRewriter
from sidecar.model.exposition.stream_cache import StreamCache
from sidecar.model.pods.index import PodIndex, PodLabels
from sidecar.model.pods.pod_stream import read_pods
from sidecar.model.policy.node import KUBELET_ENDPOINTS
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.apps import http, until
from tests.sidecar.kubelets import node_proxy, pod, pod_list, tell_pods
from tests.sidecar.model.exposition.test_stream import CADVISOR

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
        # Before the first request, there is no state to report.
        assert "\nlivery_node_discovery_up " not in await kubelet.admin()
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
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
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
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
    async with node_proxy(tmp_path, http(BARE), "--complete-cgroups") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods()
        assert "shop" not in (await kubelet.get()).text
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        assert (await kubelet.get()).text.count('namespace="shop"') == 2


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        (http(b"", status="403 Forbidden"), "is not allowed to get nodes/pods"),
        (http(b"{}", kind="application/json"), "no list `items`"),
        (http(b"<html>", kind="text/html"), "instead of application/json"),
        (http(b" " * 20_001, kind="application/json"), "the pod list is larger than 0 MiB"),
    ],
)
async def test_without_pods_no_series_goes_out_unlabelled_and_known_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pods: bytes, reason: str
) -> None:
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("sidecar.kubelet.pods.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("sidecar.model.pods.pod_stream.MAX_LIST_BYTES", 20_000)
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
        assert kubelet.app.open_connections <= 4


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


async def test_what_a_completed_cgroup_wears_follows_its_namespace_and_its_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
    asked = ("--complete-cgroups", "--pod-label", "app")
    async with node_proxy(tmp_path, http(BARE), *asked) as kubelet:
        for app, team in (("one", "frontend"), ("one", "backend"), ("two", "backend"), ("two", "")):
            labelled = pod("shop", "web-0", uid=UID, id=f"cri-o://{ID}", labels={"app": app})
            kubelet.app.answers["/pods"] = tell_pods(labelled)
            kubelet.tell({"namespaces": {"shop": {"team": team}}})
            text = (await kubelet.get()).text
            assert text.count(f'app="{app}"') == 2
            assert text.count(f'team="{team}"') == (2 if team else 0)
            assert text.count("team=") == (2 if team else 0)


async def test_cgroups_are_completed_only_where_that_is_asked_for(tmp_path: Path) -> None:
    async with node_proxy(tmp_path, http(BARE), "--pod-label", "app") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        assert "shop" not in (await kubelet.get()).text


async def test_no_pod_names_itself_what_the_platform_protects(tmp_path: Path) -> None:
    body = b'a{namespace="other",pod="web-0",team="app-said"} 1\n'
    async with node_proxy(tmp_path, http(body), "--pod-label", "*") as kubelet:
        kubelet.app.answers["/pods"] = tell_pods(pod("other", "web-0", labels={"team": "forged"}))
        kubelet.tell({"namespaces": {"shop": {}}, "labelRules": {"protected": ["team"]}})
        text = (await kubelet.get()).text
        assert text == 'a{namespace="other",pod="web-0",exported_team="app-said"} 1\n'


async def test_a_kubelet_without_pods_says_so_by_null(tmp_path: Path) -> None:
    none = http(b'{"kind":"PodList","items":null}', kind="application/json")
    arguments = ("--discovery", "--pod-label", "app")
    async with node_proxy(tmp_path, http(CADVISOR), *arguments) as kubelet:
        kubelet.app.answers["/pods"] = none
        assert (await kubelet.get("/targets")).json() == []
        assert (await kubelet.get()).status_code == 200


async def test_half_a_surrogate_pair_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
    config = tmp_path / "discovery.yaml"
    config.write_text("refresh_interval: 1ms")
    arguments = ("--pod-label", "app", "--discovery-config", str(config))
    async with node_proxy(tmp_path, http(CADVISOR), *arguments) as kubelet:
        for app in ("one", "\ud800", "two"):
            kubelet.app.answers["/pods"] = tell_pods(
                pod("shop", "web-0", labels={"app": app}, annotations={"a\udfff": "\ud800"})
            )
            shown = "\ufffd" if app == "\ud800" else app
            assert f'app="{shown}"' in (await kubelet.get()).text
            assert (await kubelet.get("/targets")).status_code == 200
            await asyncio.sleep(0.01)


async def test_pods_that_hang_delay_a_scrape_by_little_where_the_last_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("sidecar.kubelet.pods.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("sidecar.kubelet.pods.PATIENCE_SECONDS", 0.1)

    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    soon = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
    async with node_proxy(tmp_path, http(CADVISOR), "--pod-label", "app") as kubelet:
        kubelet.app.answers["/pods"] = hang
        never = await asyncio.gather(*(kubelet.get(path, **soon) for path in KUBELET_ENDPOINTS))
        assert {response.status_code for response in never} == {504}
        kubelet.app.hang_up()
        kubelet.app.answers["/pods"] = tell_pods(WEB)
        assert 'app="web"' in (await kubelet.get()).text
        kubelet.app.answers["/pods"] = hang
        for _ in range(3):
            assert 'app="web"' in (await kubelet.get()).text


async def test_pods_that_are_refused_while_metrics_stall_are_an_answer(tmp_path: Path) -> None:
    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n")
        await writer.wait_closed()

    async def refuse(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(http(b"", status="403 Forbidden"))

    async with node_proxy(tmp_path, stall, "--pod-label", "app") as kubelet:
        kubelet.app.answers["/pods"] = refuse
        async with asyncio.timeout(3):
            responses = await asyncio.gather(*(kubelet.get() for _ in range(2)))
        assert {response.status_code for response in responses} == {502}
        assert (await kubelet.get()).status_code == 502  # no slot is held
        await until(lambda: kubelet.app.open_connections <= 1)


@pytest.mark.parametrize("seed", range(6))
async def test_every_answer_is_that_of_a_proxy_that_remembers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("sidecar.kubelet.pods.REFRESH_SECONDS", 0.0)
    draw = random.Random(seed)
    arguments = ("--complete-cgroups", "--pod-label", "app", "--pod-label", "team")
    wanted = PodLabels(("app", "team"), (), completes=True)
    async with node_proxy(tmp_path, http(b""), *arguments) as kubelet:
        for _ in range(40):
            pods, text = _random_node(draw)
            policy = _random_policy(draw)
            kubelet.app.answers["/pods"] = tell_pods(*pods)
            kubelet.app.answer = http(text)
            if draw.random() < 0.7:
                kubelet.tell(policy)
            index = PodIndex(read_pods(pod_list(*pods)), wanted)
            context = RewriteContext(namespace_label="namespace", pods=index, completes=True)
            in_force = kubelet.role.policy.series
            stream = StreamRewriter(
                StreamCache(SeriesRewriter(in_force, context, Escaping.UNDERSCORES))
            )
            expected = stream.feed(text) + stream.finish()

            assert (await kubelet.get()).content == expected


def _random_node(draw: random.Random) -> tuple[list[dict[str, Any]], bytes]:
    """A few pods that come, go and change labels, and the series of all possible pods."""
    pods, lines = [], []
    for number in range(4):
        uid, container = f"1234567{number}" + UID[8:], f"{number}a" * 32
        namespace, name = f"ns-{number % 2}", f"pod-{number}"
        lines += [
            f'm{{namespace="{namespace}",pod="{name}"}} {draw.randrange(9)}',
            f'm{{id="/kubepods/pod{uid}"}} 1',
            f'm{{id="/kubepods-pod{uid.replace("-", "_")}.slice/crio-{container}.scope"}} 2',
        ]
        labels = {key: draw.choice("xyz") for key in ("app", "team") if draw.random() < 0.7}
        if draw.random() < 0.8:
            pods.append(pod(namespace, name, uid=uid, id=f"cri-o://{container}", labels=labels))
    return pods, "".join(f"{line}\n" for line in lines).encode()


def _random_policy(draw: random.Random) -> dict[str, Any]:
    teams = {f"ns-{n}": {"team": draw.choice("abc")} for n in range(2) if draw.random() < 0.7}
    drop = {"sourceLabels": ["team"], "regex": draw.choice("abx"), "action": "drop"}
    rules = [drop] if draw.random() < 0.3 else []
    return {"namespaces": teams, "metricRelabelings": rules}

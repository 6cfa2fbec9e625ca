"""Pods without a proxy, or with one that cannot work, found on a real API server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from injector.control.hub import PolicyHub
from injector.control.proxies import Proxies, Proxy
from injector.control.reports import Reports
from injector.kube.api.client import MERGE, KubeClient
from injector.kube.objects import proxy_troubles as module
from injector.kube.objects.proxy_troubles import ProxyTroubles, keep_pod
from injector.model.admission.decide import decide
from injector.model.admission.inject import patch
from injector.model.admission.troubles import Trouble
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from tests.cluster.fixtures import Namespace
from tests.injector.kube.servers import Answer, misbehaving
from tests.injector.webhook import apply

pytestmark = pytest.mark.anyio

ASKS = {"prometheus.io/scrape": "true"}


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(module, "CHANGED_SECONDS", 0.0)


class _Watched:
    """The troubles shown for pods, the deleted pods, and the pods that have a stream."""

    sentences: Callable[[], Sequence[str]]

    def __init__(self) -> None:
        self.last: Mapping[Trouble, Mapping[str, int]] = {}
        self.deleted: list[str] = []
        cluster = ClusterState()
        self.cluster = cluster
        self.proxies = Proxies(PolicyHub(cluster, Platform()), Reports())

    def show(self, counts: Mapping[Trouble, Mapping[str, int]]) -> None:
        self.last = counts

    async def until(
        self, namespace: str, count: int | None, trouble: Trouble = Trouble.MISSING
    ) -> None:
        async with asyncio.timeout(30):
            while self.last.get(trouble, {}).get(namespace) != count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def _watching(client: KubeClient, *, tells: bool = False) -> AsyncIterator[_Watched]:
    watched = _Watched()
    troubles = ProxyTroubles(
        client,
        watched.cluster,
        Platform(),
        show=watched.show,
        on_deleted=watched.deleted.append,
        tells=tells,
    )
    watched.sentences = troubles.sentences
    task = asyncio.create_task(troubles.run(watched.proxies, lambda kind: None))
    try:
        yield watched
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _labelled(namespace: Namespace, inject: str) -> dict[str, Any]:
    return {"metadata": {"name": namespace.name, "labels": {names.INJECT: inject}}}


PROXY = {names.PROXY_LABEL: "pod"}
LED = {**ASKS, "prometheus.io/port": "16090"}


@pytest.mark.parametrize(
    ("annotations", "labels", "kept"),
    [
        (ASKS, {}, "asks"),
        ({"prometheus_io_scrape": "true"}, {}, "asks"),
        ({names.INJECT: "true"}, {}, "asks"),
        ({**ASKS, names.INJECT: "ture"}, None, "asks"),
        ({**ASKS, names.INJECT: "false"}, {}, ""),
        ({**ASKS, names.MIRROR_POD: "x"}, {}, ""),
        ({"prometheus.io/scrape": "false"}, {}, ""),
        (None, None, ""),
        ([], {}, ""),
        (ASKS, {"a": 5}, ""),
        (LED, PROXY, "has one"),
        ({"prometheus.io/scrape": "false"}, PROXY, "has one"),
        (ASKS, PROXY, "has one"),
    ],
)
def test_of_a_pod_is_kept_whether_it_asks_for_a_proxy_or_has_one(
    annotations: object, labels: object, kept: str
) -> None:
    metadata = {"name": "a", "namespace": "b", "uid": "c"}
    found = keep_pod({"metadata": {**metadata, "annotations": annotations, "labels": labels}})
    marks = {
        "asks": False,
        "has one": True,
    }
    assert (found is None) == (not kept)
    if found is not None:
        assert (found["metadata"], found["hasProxy"]) == (metadata, marks[kept])


async def test_pods_are_counted_while_they_run_in_a_namespace_that_asks(
    client: KubeClient, namespace: Namespace
) -> None:
    await asyncio.to_thread(namespace.pod, "old", **ASKS)
    await asyncio.to_thread(namespace.pod, "lost", **ASKS, **{"prometheus.io/port": "nowhere"})
    async with _watching(client) as watched:
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        await watched.until(namespace.name, 1)
        await asyncio.to_thread(namespace.pod, "new", **ASKS)
        await watched.until(namespace.name, 2)
        status = {"status": {"phase": "Succeeded"}}
        path = f"{namespace.path}/pods/new/status"
        await asyncio.to_thread(client.request, "PATCH", path, body=status, content_type=MERGE)
        await watched.until(namespace.name, 1)
        watched.cluster.put("Namespace", _labelled(namespace, "no"))
        await watched.until(namespace.name, None)


async def test_a_pod_that_was_deleted_is_told_of_and_not_counted(
    client: KubeClient, namespace: Namespace
) -> None:
    pod = await asyncio.to_thread(namespace.pod, "old", **ASKS)
    async with _watching(client) as watched:
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        await watched.until(namespace.name, 1)
        path, query = f"{namespace.path}/pods/old", {"gracePeriodSeconds": "0"}
        await asyncio.to_thread(client.request, "DELETE", path, query=query)
        await watched.until(namespace.name, 0)

    assert pod["metadata"]["uid"] in watched.deleted


async def test_more_pods_than_a_round_asks_for_are_all_found(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOOKS", 2)
    for number in range(5):
        await asyncio.to_thread(namespace.pod, f"old-{number}", **ASKS)
    async with _watching(client) as watched:
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        await watched.until(namespace.name, 5)


async def _injected(namespace: Namespace, name: str) -> dict[str, Any]:
    """Create a pod as the webhook would, and set its status to running."""
    containers = [{"name": "web", "image": "registry.example/web:1"}]
    bare: dict[str, Any] = {
        "metadata": {"name": name, "annotations": {**ASKS, "prometheus.io/port": "8080"}},
        "spec": {"containers": containers, "serviceAccountName": "default"},
    }
    cluster, platform = ClusterState(), Platform()
    decision = decide(bare, namespace.name, cluster, platform)
    pod = apply(bare, patch(bare, decision, platform, "CA"))
    path = f"{namespace.path}/pods"
    made = await asyncio.to_thread(namespace.client.request, "POST", path, body=pod)
    running = {"name": names.PROXY_CONTAINER, "state": {"running": {}}, "image": "", "imageID": "",
               "ready": True, "restartCount": 0}  # fmt: skip
    status = {"status": {"phase": "Running", "initContainerStatuses": [running]}}
    await asyncio.to_thread(
        namespace.client.request, "PATCH", f"{path}/{name}/status", body=status, content_type=MERGE
    )
    return made


async def test_a_bare_pod_whose_manifest_was_applied_again_is_found_until_it_is_mended(
    client: KubeClient, namespace: Namespace
) -> None:
    async with _watching(client, tells=True) as watched:
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        pod = await _injected(namespace, "web-0")
        await watched.until(namespace.name, 0, Trouble.DRIFTED)
        port = pod["metadata"]["annotations"]["prometheus.io/port"]
        path = f"{namespace.path}/pods/web-0"
        for said, count in (("8080", 1), (port, 0)):
            body = {"metadata": {"annotations": {"prometheus.io/port": said}}}
            await asyncio.to_thread(client.request, "PATCH", path, body=body, content_type=MERGE)
            await watched.until(namespace.name, count, Trouble.DRIFTED)
            if count:
                assert watched.sentences() == [
                    f"{namespace.name}: {Trouble.DRIFTED.sentence}: web-0"
                ]
    events = await asyncio.to_thread(
        client.request, "GET", f"/api/v1/namespaces/{namespace.name}/events"
    )

    assert [event["reason"] for event in events["items"]] == ["ProxyBypassed"]


@pytest.mark.parametrize(
    ("annotations", "leads"),
    [
        (LED, "http://:16090/metrics"),
        (ASKS, "http://:/metrics"),
        ({**LED, "prometheus.io/path": "/raw"}, "http://:16090/raw"),
        ({**LED, "prometheus.io/scheme": "https"}, "https://:16090/metrics"),
        ({"prometheus.io/port": "16090"}, ""),
    ],
)
def test_of_a_pod_is_kept_where_it_leads_prometheus(
    annotations: dict[str, str], leads: str
) -> None:
    metadata = {"name": "a", "namespace": "b", "annotations": annotations, "labels": PROXY}
    kept = keep_pod({"metadata": metadata})

    assert kept is not None
    assert kept["leads"] == leads


class _Counted:
    """An API server on which every pod has drifted; records the requested paths."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        self.asked.append(path)
        ports = [{"name": "livery", "containerPort": 16092}]
        spec = {"initContainers": [{"name": names.PROXY_CONTAINER, "ports": ports}]}
        pod = {"metadata": {"annotations": LED}, "spec": spec, "status": {"phase": "Running"}}
        return 200, json.dumps(pod).encode()


def test_a_tenant_whose_pods_change_all_the_time_takes_no_others_turn() -> None:
    counted, watched = _Counted(), _Watched()
    with misbehaving(counted.answer) as client:
        troubles = ProxyTroubles(client, watched.cluster, Platform(), show=watched.show)
        kept = {"hasProxy": True, "leads": "http://:8080/metrics"}

        def put(namespace: str, name: str, uid: str) -> None:
            metadata = {"name": name, "namespace": namespace, "uid": uid}
            troubles.put(module.PODS, {"metadata": metadata, **kept})

        put("shop", "victim", "1")
        for number in range(200):
            put("aaa", f"web-{number}", "1")
        troubles._look(None)

    assert "/api/v1/namespaces/shop/pods/victim" in counted.asked
    assert len(counted.asked) == module.MAX_LOOKS


def test_a_pod_of_the_usual_port_whose_proxy_has_another_is_found_in_the_end() -> None:
    counted, watched = _Counted(), _Watched()
    with misbehaving(counted.answer) as client:
        troubles = ProxyTroubles(client, watched.cluster, Platform(), show=watched.show)
        metadata = {"name": "web", "namespace": "shop", "uid": "1"}
        kept = {"metadata": metadata, "hasProxy": True, "leads": "http://:16090/metrics"}
        troubles.put(module.PODS, kept)
        for _ in range(3):
            troubles._look(None)
            assert troubles.count()[Trouble.DRIFTED] == {"shop": 1}


async def test_a_proxy_without_a_stream_to_any_replica_is_cut_off(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.2)
    async with _watching(client) as watched:
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        await _injected(namespace, "web-0")
        await watched.until(namespace.name, 1, Trouble.CUT_OFF)
        watched.proxies.take("other", {(namespace.name, "web-0"): Proxy("version", None)})
        await watched.until(namespace.name, 0, Trouble.CUT_OFF)


async def test_a_pod_that_was_well_at_first_is_told_of_what_comes_later(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.2)
    async with _watching(client, tells=True) as watched:
        pod = (namespace.name, "web-0")
        watched.proxies.take("other", {pod: Proxy("version", None)})
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        await _injected(namespace, "web-0")
        await asyncio.sleep(0.5)
        watched.proxies.keep_only(set())
        await watched.until(namespace.name, 1, Trouble.CUT_OFF)
    events = await asyncio.to_thread(
        client.request, "GET", f"/api/v1/namespaces/{namespace.name}/events"
    )

    assert [event["reason"] for event in events["items"]] == ["ProxyCutOff"]


async def test_while_a_replica_cannot_be_asked_nobody_is_said_to_be_cut_off(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.2)
    async with _watching(client) as watched:
        watched.proxies.lose("other", "refused")
        watched.cluster.put("Namespace", _labelled(namespace, "enabled"))
        await _injected(namespace, "web-0")
        await asyncio.sleep(1.0)
        assert watched.last[Trouble.CUT_OFF].get(namespace.name, 0) == 0
        watched.proxies.keep_only(set())
        await watched.until(namespace.name, 1, Trouble.CUT_OFF)

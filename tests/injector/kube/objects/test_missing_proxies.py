"""Pods that asked for a proxy and have none, counted on a real API server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from injector.kube.api.client import MERGE, KubeClient
from injector.kube.objects import missing_proxies as module
from injector.kube.objects.missing_proxies import MissingProxyMonitor, keep_candidate
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform import Platform
from tests.cluster.fixtures import Namespace

pytestmark = pytest.mark.anyio

ASKS = {"prometheus.io/scrape": "true"}


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)


class _Counts:
    """What the monitor shows, and who was deleted."""

    def __init__(self) -> None:
        self.last: Mapping[str, int] = {}
        self.deleted: list[str] = []

    def show(self, counts: Mapping[str, int]) -> None:
        self.last = dict(counts)

    async def until(self, namespace: str, count: int | None) -> None:
        async with asyncio.timeout(30):
            while self.last.get(namespace) != count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def _counting(client: KubeClient, cluster: ClusterState) -> AsyncIterator[_Counts]:
    counts = _Counts()
    monitor = MissingProxyMonitor(
        client, cluster, Platform(), show=counts.show, on_deleted=counts.deleted.append, tells=False
    )
    task = asyncio.create_task(monitor.run(lambda kind: None))
    try:
        yield counts
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _labelled(namespace: Namespace, inject: str) -> dict[str, Any]:
    return {"metadata": {"name": namespace.name, "labels": {names.INJECT: inject}}}


@pytest.mark.parametrize(
    ("annotations", "labels", "is_candidate"),
    [
        (ASKS, {}, True),
        ({"prometheus_io_scrape": "true"}, {}, True),
        ({names.INJECT: "true"}, {}, True),
        ({**ASKS, names.INJECT: "ture"}, None, True),
        ({**ASKS, names.INJECT: "false"}, {}, False),
        ({**ASKS, names.MIRROR_POD: "x"}, {}, False),
        (ASKS, {names.PROXY_LABEL: "pod"}, False),
        ({"prometheus.io/scrape": "false"}, {}, False),
        (None, None, False),
        ([], {}, False),
        (ASKS, {"a": 5}, False),
    ],
)
def test_a_candidate_asks_for_a_proxy_and_shows_none(
    annotations: object, labels: object, is_candidate: bool
) -> None:
    metadata = {"name": "a", "namespace": "b", "uid": "c"}
    kept = keep_candidate({"metadata": {**metadata, "annotations": annotations, "labels": labels}})

    assert kept == ({"metadata": metadata} if is_candidate else None)


async def test_pods_are_counted_while_they_run_in_a_namespace_that_asks(
    client: KubeClient, namespace: Namespace
) -> None:
    cluster = ClusterState()
    await asyncio.to_thread(namespace.pod, "old", **ASKS)
    await asyncio.to_thread(namespace.pod, "lost", **ASKS, **{"prometheus.io/port": "nowhere"})
    async with _counting(client, cluster) as counts:
        cluster.put("Namespace", _labelled(namespace, "enabled"))
        await counts.until(namespace.name, 1)
        await asyncio.to_thread(namespace.pod, "new", **ASKS)
        await counts.until(namespace.name, 2)
        status = {"status": {"phase": "Succeeded"}}
        path = f"{namespace.path}/pods/new/status"
        await asyncio.to_thread(client.request, "PATCH", path, body=status, content_type=MERGE)
        await counts.until(namespace.name, 1)
        cluster.put("Namespace", _labelled(namespace, "no"))
        await counts.until(namespace.name, None)


async def test_a_pod_that_was_deleted_is_told_of_and_not_counted(
    client: KubeClient, namespace: Namespace
) -> None:
    cluster = ClusterState()
    cluster.put("Namespace", _labelled(namespace, "enabled"))
    pod = await asyncio.to_thread(namespace.pod, "old", **ASKS)
    async with _counting(client, cluster) as counts:
        await counts.until(namespace.name, 1)
        path, query = f"{namespace.path}/pods/old", {"gracePeriodSeconds": "0"}
        await asyncio.to_thread(client.request, "DELETE", path, query=query)
        await counts.until(namespace.name, 0)

    assert pod["metadata"]["uid"] in counts.deleted


async def test_more_pods_than_a_round_asks_for_are_all_found(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOOKS", 2)
    cluster = ClusterState()
    cluster.put("Namespace", _labelled(namespace, "enabled"))
    for number in range(5):
        await asyncio.to_thread(namespace.pod, f"old-{number}", **ASKS)
    async with _counting(client, cluster) as counts:
        await counts.until(namespace.name, 5)

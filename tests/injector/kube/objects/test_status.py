"""The status of MetricAccess objects, written to a real API server by one replica."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.api.lease import Lease
from injector.kube.objects import status as module
from injector.kube.objects.status import StatusWriter
from injector.model.access.sending import ObjectName, SendingFacts
from injector.model.cluster.state import ClusterState, Key
from injector.platform.settings import Platform
from sidecar.model.access.objects import API_VERSION
from tests.cluster.fixtures import Namespace, Release, make_namespace
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)


@contextlib.asynccontextmanager
async def _writing(
    release: Release,
    cluster: ClusterState,
    present: dict[Key, Json],
    *,
    name: str = "a",
    is_listed: Callable[[], bool] = lambda: True,
    sending: Callable[[], Mapping[ObjectName, SendingFacts]] = dict,
) -> AsyncIterator[Lease]:
    client, own = release.own.client, release.own.name
    lease = Lease(client, own, f"{release.name}-status", name)
    writer = StatusWriter(
        client, cluster, present,
        platform=Platform(), lease=lease, is_listed=is_listed, sending=sending,
    )  # fmt: skip
    task = asyncio.create_task(writer.run())
    try:
        yield lease
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _create(shop: Namespace, name: str, spec: Json) -> Json:
    path = f"/apis/{API_VERSION}/namespaces/{shop.name}/metricaccesses"
    body = {"apiVersion": API_VERSION, "kind": "MetricAccess", "metadata": {"name": name}}
    return shop.client.request("POST", path, body={**body, "spec": spec})


def _read(shop: Namespace, name: str) -> Json:
    path = f"/apis/{API_VERSION}/namespaces/{shop.name}/metricaccesses/{name}"
    return shop.client.request("GET", path)


class _Looks:
    """Reports whether the cluster has been read, and counts the calls."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.count = 0

    def look(self) -> bool:
        self.count += 1
        return self.answer


async def _until_written(shop: Namespace, name: str) -> Json:
    async with asyncio.timeout(30):
        while not (found := await asyncio.to_thread(_read, shop, name)).get("status"):
            await asyncio.sleep(0.02)
    return found


async def test_every_object_of_a_namespace_is_judged_beside_one_that_went_away(
    client: KubeClient, release: Release
) -> None:
    cluster, shop = ClusterState(), await asyncio.to_thread(make_namespace, client, "shop")
    for name, metrics in (("a-good", ["up"]), ("c-bad", ["("])):
        spec = {"metrics": metrics}
        cluster.put("MetricAccess", await asyncio.to_thread(_create, shop, name, spec))
    gone = {"metadata": {"name": "b-gone", "namespace": shop.name}, "spec": {"metrics": ["up"]}}
    cluster.put("MetricAccess", gone)
    async with _writing(release, cluster, {}):
        found = [await _until_written(shop, name) for name in ("a-good", "c-bad")]
    reasons = [item["status"]["conditions"][0]["reason"] for item in found]

    assert reasons == ["Accepted", "SomePatternsInvalid"]


async def test_only_the_replica_that_holds_the_lease_writes_and_the_next_takes_over(
    client: KubeClient, release: Release
) -> None:
    cluster, shop = ClusterState(), await asyncio.to_thread(make_namespace, client, "shop")
    spec = {"metrics": ["up"]}
    cluster.put("MetricAccess", await asyncio.to_thread(_create, shop, "rules", spec))
    looks = _Looks()
    async with contextlib.AsyncExitStack() as first:
        lease = await first.enter_async_context(_writing(release, ClusterState(), {}, name="first"))
        await until(lambda: lease.is_held)
        async with _writing(release, cluster, {}, name="second", is_listed=looks.look):
            await until(lambda: looks.count >= 5)
            assert "status" not in await asyncio.to_thread(_read, shop, "rules")
            await first.aclose()
            await _until_written(shop, "rules")


async def test_nothing_is_written_before_the_cluster_is_known(
    client: KubeClient, release: Release
) -> None:
    cluster, shop = ClusterState(), await asyncio.to_thread(make_namespace, client, "shop")
    cluster.put(
        "MetricAccess", await asyncio.to_thread(_create, shop, "rules", {"metrics": ["up"]})
    )
    looks = _Looks(answer=False)
    async with _writing(release, cluster, {}, is_listed=looks.look) as lease:
        await until(lambda: looks.count >= 5)
        assert not lease.is_held
        assert "status" not in await asyncio.to_thread(_read, shop, "rules")
        looks.answer = True
        await _until_written(shop, "rules")


async def test_a_status_that_is_as_it_must_be_is_not_written_again(
    client: KubeClient, release: Release
) -> None:
    cluster, shop = ClusterState(), await asyncio.to_thread(make_namespace, client, "shop")
    spec = {"metrics": ["up"]}
    for name in ("a-right", "b-new"):
        cluster.put("MetricAccess", await asyncio.to_thread(_create, shop, name, spec))
    async with _writing(release, cluster, {}):
        (written, _) = [await _until_written(shop, name) for name in ("a-right", "b-new")]
    for name in ("a-right", "b-new"):
        path = f"/apis/{API_VERSION}/namespaces/{shop.name}/metricaccesses/{name}"
        await asyncio.to_thread(client.request, "DELETE", path)
        await asyncio.to_thread(_create, shop, name, spec)
    present = {Key("MetricAccess", shop.name, "a-right"): written["status"]}
    async with _writing(release, cluster, present):
        await _until_written(shop, "b-new")  # it is processed after a-right

    assert "status" not in await asyncio.to_thread(_read, shop, "a-right")


_SENDS = {
    "metrics": ["up"],
    "metricIsolation": True,
    "remoteWrite": {
        "enabled": True,
        "target": {"type": "prometheus", "prometheus": {"serviceName": "prometheus"}},
    },
}


async def test_a_new_replica_waits_for_reports_before_it_says_that_nobody_sends(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 3600)
    monkeypatch.setattr(module, "SENDING_SECONDS", 0.05)
    cluster, shop = ClusterState(), await asyncio.to_thread(make_namespace, client, "shop")
    cluster.put("MetricAccess", await asyncio.to_thread(_create, shop, "sends", _SENDS))
    present = {Key("MetricAccess", shop.name, "sends"): {"conditions": [{"type": "Ready"}]}}
    facts: dict[ObjectName, SendingFacts] = {}
    looks = 0

    def sending() -> Mapping[ObjectName, SendingFacts]:
        nonlocal looks
        looks += 1
        return facts

    async with _writing(release, cluster, present, sending=sending) as lease:
        await until(lambda: lease.is_held)
        until_then = looks + 5
        await until(lambda: looks >= until_then)
        assert "status" not in await asyncio.to_thread(_read, shop, "sends")
        facts[shop.name, "sends"] = SendingFacts(senders=1, series=7)
        found = await _until_written(shop, "sends")

    assert found["status"]["remoteWrite"]["series"] == 7


async def test_that_nobody_sends_is_said_in_the_end(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(module, "SENDING_SECONDS", 0.05)
    cluster, shop = ClusterState(), await asyncio.to_thread(make_namespace, client, "shop")
    cluster.put("MetricAccess", await asyncio.to_thread(_create, shop, "sends", _SENDS))
    present = {Key("MetricAccess", shop.name, "sends"): {"conditions": [{"type": "Ready"}]}}
    async with _writing(release, cluster, present):
        found = await _until_written(shop, "sends")

    (ready,) = [item for item in found["status"]["conditions"] if item["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "NotSuppliedByProxies")

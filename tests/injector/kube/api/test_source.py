"""The cluster state, kept equal to a real API server's objects."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from injector.kube.api import reflector
from injector.kube.api.client import MERGE, KubeClient
from injector.kube.api.reflector import Resource
from injector.kube.api.source import NODES, RESOURCES, ClusterSource
from injector.model.cluster.state import ClusterState
from tests.cluster.fixtures import Namespace, installed_chart, make_namespace
from tests.cluster.proxy import CutConnections
from tests.real_parts.kubernetes import ApiServer, start_api_server, start_etcd
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "LAST_BACKOFF_SECONDS", 0.3)


@contextlib.asynccontextmanager
async def _following(
    client: KubeClient, resources: Sequence[Resource] = RESOURCES
) -> AsyncIterator[tuple[ClusterState, ClusterSource]]:
    cluster = ClusterState()
    source = ClusterSource(client, cluster, resources)
    source.open()

    async def follow() -> None:
        async for _ in source.changes():
            pass

    task = asyncio.create_task(follow())
    await until(lambda: not source.unready())
    try:
        yield cluster, source
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _labels(cluster: ClusterState, name: str) -> dict[str, str]:
    found = cluster.namespace(name)
    return {} if found is None else dict(found.labels)


async def test_what_is_there_comes_changes_and_goes(
    client: KubeClient, namespace: Namespace
) -> None:
    namespace.label(team="frontend")
    async with _following(client) as (cluster, _):
        assert _labels(cluster, namespace.name)["team"] == "frontend"
        await asyncio.to_thread(namespace.label, team="backend", tier="gold")
        await until(lambda: _labels(cluster, namespace.name).get("tier") == "gold")
        assert _labels(cluster, namespace.name)["team"] == "backend"
        other = await asyncio.to_thread(make_namespace, client, "new")
        await until(lambda: cluster.namespace(other.name) is not None)
        limit = {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}
        await asyncio.to_thread(namespace.create, "limitranges", "small", spec=limit)
        await until(lambda: cluster.in_namespace("LimitRange", namespace.name))
        path = f"{namespace.path}/limitranges/small"
        await asyncio.to_thread(client.request, "DELETE", path)
        await until(lambda: not cluster.in_namespace("LimitRange", namespace.name))


async def test_nodes_are_known_by_where_their_kubelets_are(client: KubeClient) -> None:
    body = {"metadata": {"name": "worker-1"}}
    addresses = [{"type": "InternalIP", "address": "10.0.0.7"}]
    async with _following(client, (*RESOURCES, NODES)) as (cluster, _):
        await asyncio.to_thread(client.request, "POST", "/api/v1/nodes", body=body)
        path = "/api/v1/nodes/worker-1"
        try:
            status = {"status": {"addresses": addresses}}
            await asyncio.to_thread(
                client.request, "PATCH", f"{path}/status", body=status, content_type=MERGE
            )
            await until(lambda: cluster.nodes() == {"worker-1": "https://10.0.0.7:10250"})
        finally:
            await asyncio.to_thread(client.request, "DELETE", path)
        await until(lambda: cluster.nodes() == {})


async def test_a_resource_that_the_cluster_gets_later_is_followed_then(
    api_server: ApiServer, client: KubeClient, namespace: Namespace
) -> None:
    async with _following(client) as (cluster, source):
        assert source.problems() == []
        with installed_chart(api_server, client):
            path = "/apis/observability.ethos.io/v1alpha1/namespaces/{}/metricaccesses"
            body = {
                "apiVersion": "observability.ethos.io/v1alpha1", "kind": "MetricAccess",
                "metadata": {"name": "rules"}, "spec": {"metrics": ["up"]},
            }  # fmt: skip
            rules = path.format(namespace.name)
            await asyncio.to_thread(client.request, "POST", rules, body=body)
            await until(lambda: cluster.in_namespace("MetricAccess", namespace.name))
        await until(lambda: not cluster.in_namespace("MetricAccess", namespace.name))


async def test_many_objects_come_in_pages(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_namespace(client, "page") for _ in range(7)]
    monkeypatch.setattr(reflector, "PAGE", 2)
    async with _following(client) as (cluster, _):
        assert all(cluster.namespace(item.name) for item in made)


async def test_an_api_server_that_restarts_is_followed_on(tmp_path: Path) -> None:
    with ExitStack() as stack:
        etcd_url = start_etcd(tmp_path, stack)
        first = stack.enter_context(ExitStack())
        server = start_api_server(tmp_path, etcd_url, first)
        client = server.client()
        kept, gone = make_namespace(client, "kept"), make_namespace(client, "gone")
        port = int(server.url.rsplit(":", 1)[1])
        async with _following(client) as (cluster, source):
            await asyncio.to_thread(first.close)
            await until(lambda: len(source.problems()) == 3)
            assert cluster.namespace(gone.name) is not None
            start = (tmp_path, etcd_url, stack, port)
            await asyncio.to_thread(start_api_server, *start)
            await asyncio.to_thread(kept.label, team="new")
            await asyncio.to_thread(client.request, "DELETE", gone.path)
            finalize = {"metadata": {"name": gone.name}, "spec": {"finalizers": []}}
            await asyncio.to_thread(client.request, "PUT", f"{gone.path}/finalize", body=finalize)
            await until(lambda: _labels(cluster, kept.name).get("team") == "new")
            await until(lambda: cluster.namespace(gone.name) is None)
            await until(lambda: source.problems() == [])


async def test_connections_that_are_cut_lose_nothing(
    api_server: ApiServer, namespace: Namespace
) -> None:
    with CutConnections(api_server) as between:
        async with _following(between.client()) as (cluster, source):
            between.cut()
            await asyncio.to_thread(namespace.label, team="new")
            await until(lambda: len(source.problems()) == 3)
            asked = between.connections
            await asyncio.sleep(1)
            # Three reflectors, each with a backoff that grows to a third of a second here.
            assert between.connections - asked < 40
            between.mend()
            await until(lambda: _labels(cluster, namespace.name).get("team") == "new")
            await until(lambda: source.problems() == [])


async def test_a_slow_network_delays_and_loses_nothing(
    api_server: ApiServer, namespace: Namespace
) -> None:
    with CutConnections(api_server) as between:
        between.seconds_each_part = 0.01
        async with _following(between.client()) as (cluster, _):
            for number in range(5):
                await asyncio.to_thread(namespace.label, team=f"team-{number}")
            await until(lambda: _labels(cluster, namespace.name).get("team") == "team-4")

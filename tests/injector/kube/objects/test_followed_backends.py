"""Gateways' Prometheus servers, discovered on a real API server."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.objects.followed_backends import FollowedBackends
from injector.model.cluster.state import ClusterState
from injector.platform.settings import BackendDiscovery, BackendKind
from tests.cluster.fixtures import Namespace, make_namespace
from tests.injector.kube.following import following
from tests.injector.kube.servers import Answer, listed, misbehaving
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio


def _service(namespace: Namespace, name: str, **labels: str) -> None:
    spec = {"ports": [{"name": "web", "port": 9090}]}
    namespace.create("services", name, metadata={"labels": labels}, spec=spec)


async def _urls(cluster: ClusterState, expected: Sequence[str]) -> None:
    await until(lambda: cluster.backends() == list(expected))


async def test_services_come_and_go(client: KubeClient, namespace: Namespace) -> None:
    cluster, name = ClusterState(), namespace.name
    _service(namespace, "other")
    discovery = BackendDiscovery(namespaces=(name,), label_selector="app=prometheus")
    async with following(FollowedBackends(client, cluster, [discovery])) as followed:
        await _urls(cluster, [])
        await asyncio.to_thread(_service, namespace, "a", app="prometheus")
        await asyncio.to_thread(_service, namespace, "b", app="prometheus")
        await _urls(cluster, [f"http://{one}.{name}.svc:9090" for one in "ab"])
        await asyncio.to_thread(client.request, "DELETE", f"{namespace.path}/services/a")
        await _urls(cluster, [f"http://b.{name}.svc:9090"])
        assert followed.troubles() == []


async def test_endpoints_of_several_namespaces_are_one_group(
    client: KubeClient, namespace: Namespace
) -> None:
    cluster, other = ClusterState(), make_namespace(client, "other")
    for place, address in ((namespace, "10.0.0.1"), (other, "10.0.0.2")):
        path = f"/apis/discovery.k8s.io/v1/namespaces/{place.name}/endpointslices"
        body: dict[str, Any] = {
            "metadata": {"name": "p"}, "addressType": "IPv4",
            "ports": [{"name": "web", "port": 9090}], "endpoints": [{"addresses": [address]}],
        }  # fmt: skip
        client.request("POST", path, body=body)
    discovery = BackendDiscovery(
        kind=BackendKind.ENDPOINT_SLICE, namespaces=(namespace.name, other.name)
    )
    async with following(FollowedBackends(client, cluster, [discovery])):
        await _urls(cluster, ["http://10.0.0.1:9090", "http://10.0.0.2:9090"])


async def test_what_is_not_listed_yet_is_not_taken_for_none() -> None:
    def answer(path: str, query: dict[str, str]) -> Answer:
        return (403, b'{"message": "no"}') if "/b/" in path else listed("1")

    cluster = ClusterState()
    with misbehaving(answer) as client:
        discovery = BackendDiscovery(namespaces=("a", "b"))
        async with following(FollowedBackends(client, cluster, [discovery])) as followed:
            await until(lambda: bool(followed.troubles()))

    assert cluster.backends() is None
    assert "gateways' backends: " in followed.troubles()[0]

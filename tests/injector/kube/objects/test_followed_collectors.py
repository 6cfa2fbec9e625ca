"""Ready collectors, found through their Service's EndpointSlices on a real API server."""

import asyncio
from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.objects.followed_collectors import FollowedCollectors
from injector.model.cluster.state import ClusterState
from tests.cluster.fixtures import Namespace
from tests.injector.kube.following import following
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio

_PATH = "/apis/discovery.k8s.io/v1/namespaces"


def _endpoint(number: int, **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": f"collector-{number}"},
    }


def _put(namespace: Namespace, name: str, service: str, *endpoints: dict[str, Any]) -> None:
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "admin", "port": 8081}],
    }
    path = f"{_PATH}/{namespace.name}/endpointslices"
    names = [item["metadata"]["name"] for item in namespace.client.request("GET", path)["items"]]
    if name in names:
        namespace.client.request("PUT", f"{path}/{name}", body=body)
    else:
        namespace.client.request("POST", path, body=body)


async def test_collectors_come_and_go(client: KubeClient, namespace: Namespace) -> None:
    cluster, name = ClusterState(), namespace.name
    await asyncio.to_thread(_put, namespace, "other-1", "other", _endpoint(9, ready=True))
    async with following(FollowedCollectors(client, cluster, [f"{name}/collector"])) as followed:
        await until(lambda: cluster.collectors() == [])
        endpoints = (_endpoint(2), _endpoint(1, ready=True), _endpoint(3, ready=False))
        await asyncio.to_thread(_put, namespace, "collector-abc", "collector", *endpoints)
        await until(lambda: cluster.collectors() == ["collector-1", "collector-2"])
        more = _endpoint(4, ready=True)
        await asyncio.to_thread(_put, namespace, "collector-def", "collector", more)
        await until(lambda: (cluster.collectors() or [])[-1:] == ["collector-4"])
        path = f"{_PATH}/{name}/endpointslices/collector-abc"
        await asyncio.to_thread(client.request, "DELETE", path)
        await until(lambda: cluster.collectors() == ["collector-4"])
        assert followed.troubles() == []


async def test_before_they_are_listed_nobody_knows_them(client: KubeClient) -> None:
    cluster = ClusterState()
    FollowedCollectors(client, cluster, ["livery/collector"])

    assert cluster.collectors() is None

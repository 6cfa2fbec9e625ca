"""Secrets that objects name, read from a real API server."""

import asyncio
import base64
import json
from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.objects import followed_secrets as module
from injector.kube.objects.followed_secrets import FollowedSecrets, keep_secret
from injector.model.cluster.state import ClusterState
from injector.platform.settings import RemoteWriteSettings
from tests.cluster.fixtures import Namespace
from tests.injector.kube.following import following
from tests.injector.kube.servers import misbehaving
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def reads_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.05)


def _access(namespace: str, secret: str, name: str = "front") -> dict[str, Any]:
    url = {
        "url": "https://m.example.com/write",
        "bearerTokenSecret": {"name": secret, "key": "token"},
    }
    target = {"type": "remote_write", "remoteWrite": url}
    spec = {"metrics": ["up"], "remoteWrite": {"enabled": True, "target": target}}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _write(namespace: Namespace, name: str, text: str) -> None:
    data = {"token": base64.b64encode(text.encode()).decode()}
    path = f"/api/v1/namespaces/{namespace.name}/secrets"
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "annotations": {"livery.dev/remote-write-hosts": "m.example.com", "last": text},
        },
        "data": data,
    }
    names = [item["metadata"]["name"] for item in namespace.client.request("GET", path)["items"]]
    if name in names:
        namespace.client.request("PUT", f"{path}/{name}", body=body)
    else:
        namespace.client.request("POST", path, body=body)


def _secrets(client: KubeClient, cluster: ClusterState, *namespaces: str) -> FollowedSecrets:
    settings = RemoteWriteSettings(secret_namespaces=namespaces)
    return FollowedSecrets(client, cluster, settings)


def _token(cluster: ClusterState, namespace: str, name: str = "receiver") -> str:
    secret = cluster.secret(namespace, name)
    return "" if secret is None else base64.b64decode(secret["data"]["token"]).decode()


async def test_a_secret_that_changes_or_goes_is_followed(
    client: KubeClient, namespace: Namespace
) -> None:
    cluster, name = ClusterState(), namespace.name
    await asyncio.to_thread(_write, namespace, "receiver", "first")
    await asyncio.to_thread(_write, namespace, "other", "unused")
    async with following(_secrets(client, cluster, name)) as followed:
        cluster.put("MetricAccess", _access(name, "receiver"))
        await until(lambda: _token(cluster, name) == "first")
        assert cluster.secret(name, "other") is None
        await asyncio.to_thread(_write, namespace, "receiver", "second")
        await until(lambda: _token(cluster, name) == "second")
        path = f"/api/v1/namespaces/{name}/secrets/receiver"
        await asyncio.to_thread(client.request, "DELETE", path)
        await until(lambda: cluster.secret(name, "receiver") is None)
        assert followed.troubles() == []


async def test_secrets_of_other_namespaces_are_not_read(
    client: KubeClient, namespace: Namespace
) -> None:
    cluster, name = ClusterState(), namespace.name
    await asyncio.to_thread(_write, namespace, "receiver", "first")
    async with following(_secrets(client, cluster, "another")):
        cluster.put("MetricAccess", _access(name, "receiver"))
        await asyncio.sleep(0.6)

    assert cluster.secret(name, "receiver") is None


async def test_what_nobody_names_any_more_is_forgotten(
    client: KubeClient, namespace: Namespace
) -> None:
    cluster, name = ClusterState(), namespace.name
    await asyncio.to_thread(_write, namespace, "receiver", "first")
    async with following(_secrets(client, cluster, name)):
        cluster.put("MetricAccess", _access(name, "receiver"))
        await until(lambda: _token(cluster, name) == "first")
        cluster.put("MetricAccess", _access(name, "another"))
        await until(lambda: cluster.secret(name, "receiver") is None)


@pytest.mark.parametrize(("status", "stays"), [(403, False), (500, True)])
async def test_rights_that_are_withdrawn_count_and_an_api_server_in_trouble_does_not(
    status: int, stays: bool
) -> None:
    secret = {"metadata": {"name": "receiver", "namespace": "shop"}, "data": {"token": "Zmlyc3Q="}}
    answers = [(200, json.dumps(secret).encode())]

    def answer(path: str, query: dict[str, str]) -> tuple[int, bytes]:
        return answers.pop(0) if answers else (status, b"{}")

    cluster = ClusterState()
    cluster.put("MetricAccess", _access("shop", "receiver"))
    with misbehaving(answer) as client:
        async with following(_secrets(client, cluster, "shop")) as followed:
            await until(lambda: bool(followed.troubles()))

    assert bool(_token(cluster, "shop")) is stays


def test_of_a_secret_only_what_is_judged_is_kept() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "geheim"}
    metadata = {"name": "a", "namespace": "b", "uid": "u", "annotations": annotations, "labels": {}}

    assert keep_secret({"metadata": metadata, "type": "Opaque"}) == {
        "metadata": {
            "name": "a", "namespace": "b", "uid": "u",
            "annotations": {"livery.dev/remote-write-hosts": ""},
        },
        "data": {},
    }  # fmt: skip

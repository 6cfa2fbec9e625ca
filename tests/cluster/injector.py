"""An injector on a real API server, run as the chart's pod would run it, and its clients."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import yaml

from injector.app.service import Service, ServiceSettings
from injector.kube.api.client import KubeClient
from injector.kube.backend import ClusterSettings, Observers, cluster_backend
from injector.platform.document import parse_platform
from injector.web.metrics import InjectorMetrics
from sidecar.http.connection import Connection, render_request
from tests.cluster.fixtures import Namespace, Release, make_namespace

_PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class Running(NamedTuple):
    """An injector and where it keeps its CA."""

    service: Service
    own: Namespace

    async def is_ready(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.service.ports[2])
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return b" 200 " in answer.split(b"\r\n", 1)[0]


@contextlib.asynccontextmanager
async def running_injector(release: Release, **where: str | bool) -> AsyncIterator[Running]:
    """Run an injector as the chart's pod would, with the chart's settings and its rights.

    Args:
        release: the chart, installed.
        where: fields of ClusterSettings that differ from webhook mode.
    """
    own, name = release.own, release.name
    settings = ServiceSettings(
        names=(f"{name}-injector.{own.name}.svc", "127.0.0.1"),
        host="127.0.0.1",
        admission_port=0,
        control_port=0,
        metrics_port=0,
    )
    settled = ClusterSettings(own.name, f"{name}-ca", f"{name}-status", name)._replace(
        **where  # type: ignore[arg-type] # named as the fields are
    )
    path = f"{own.path}/configmaps/{name}-platform"
    document = (await asyncio.to_thread(own.client.request, "GET", path))["data"]["platform.yaml"]
    client = await asyncio.to_thread(release.injector_client)
    platform = parse_platform(yaml.safe_load(document))
    metrics = InjectorMetrics()
    observers = Observers(
        lambda kind: metrics.watch_failures.labels(kind).inc(), metrics.show_troubles
    )
    backend = cluster_backend(client, settled, platform, observers)
    service = Service(settings, platform, backend, metrics)
    await asyncio.to_thread(service.open)
    if settled.webhook_configuration:
        await asyncio.to_thread(_point, own.client, release, service.ports[0])
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    running = Running(service, own)
    try:
        await until(running.is_ready)
        yield running
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


def _point(client: KubeClient, release: Release, port: int) -> None:
    """Make the API server call the injector at an address: no Service routes to it here."""
    path = f"{_PATH}/{release.name}"
    configuration = client.request("GET", path)
    for webhook in configuration["webhooks"]:
        service = webhook["clientConfig"].pop("service", None)
        if service is None:
            return  # another replica is called already
        webhook["clientConfig"]["url"] = f"https://127.0.0.1:{port}{service['path']}"
        # Releases of other tests register webhooks for the same namespaces.
        webhook["namespaceSelector"].setdefault("matchLabels", {})["of"] = release.own.name
    client.request("PUT", path, body=configuration)


def point_back(client: KubeClient, release: Release) -> None:
    """Restore the webhook's address to the chart's."""
    path = f"{_PATH}/{release.name}"
    configuration = client.request("GET", path)
    for webhook in configuration["webhooks"]:
        url = webhook["clientConfig"].pop("url")
        webhook["clientConfig"]["service"] = {
            "name": f"{release.name}-injector", "namespace": release.own.name, "port": 443,
            "path": f"/{url.rpartition('/')[2]}",
        }  # fmt: skip
    client.request("PUT", path, body=configuration)


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


def label_for_injection(namespace: Namespace, own: Namespace, **labels: str) -> None:
    namespace.label(**{"livery.dev/inject": "enabled", "of": own.name, **labels})


def make_shop(client: KubeClient) -> Namespace:
    return make_namespace(client, "shop")


def known_labels(service: Service, name: str) -> dict[str, str]:
    found = service.cluster.namespace(name)
    return {} if found is None else dict(found.labels)


async def create_until_injected(shop: Namespace) -> dict[str, Any]:
    async with asyncio.timeout(20):
        for number in range(1000):
            annotations = {"prometheus.io/scrape": "true"}
            pod = await asyncio.to_thread(shop.pod, f"web-{number}", **annotations)
            if pod["spec"].get("initContainers"):
                return pod
            await asyncio.sleep(0.1)
    raise AssertionError("no pod was injected")


@contextlib.asynccontextmanager
async def open_stream(
    port: int, trust: ssl.SSLContext, token: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Open a policy stream; gives its policies."""
    connection = await Connection.open("127.0.0.1", port, tls=trust, server_name="127.0.0.1")
    headers = {"Host": "x", "Authorization": f"Bearer {token}"}
    assert await connection.send(render_request("GET", "/v1/policy?role=pod", headers)) == 200

    async def policies() -> AsyncIterator[dict[str, Any]]:
        buffer = b""
        while part := await connection.read():
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["type"] == "policy":
                    yield message["policy"]

    try:
        yield policies()
    finally:
        connection.close()


async def ask(port: int, trust: ssl.SSLContext, token: str, target: str) -> tuple[int, str]:
    connection = await Connection.open("127.0.0.1", port, tls=trust, server_name="127.0.0.1")
    headers = {"Host": "x", "Authorization": f"Bearer {token}"}
    status = await connection.send(render_request("GET", target, headers))
    backend = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while part := await connection.read():
                backend.append(part)
    connection.close()
    return status, b"".join(backend).decode()

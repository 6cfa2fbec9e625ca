"""An injector on a real API server: pods admitted by its webhook, labels told by its stream."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import yaml
from webhook_certs.rotation import Rotation

from injector.kube import drift
from injector.kube.authorities import SecretStore, WebhookBundle
from injector.kube.client import KubeClient
from injector.kube.parts import ClusterSettings, Observers, cluster_parts
from injector.model.metricaccess import API_VERSION
from injector.service import Service, ServiceSettings
from injector.settings import parse_platform
from injector.web.metrics import InjectorMetrics
from sidecar.client import Connection, render_request
from tests.cluster.conftest import Namespace, Release, make_namespace

pytestmark = pytest.mark.anyio

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
async def _injector(release: Release) -> AsyncIterator[Running]:
    """Run an injector as the chart's pod would, with the chart's settings and its rights."""
    own, name = release.own, release.name
    settings = ServiceSettings(
        names=("127.0.0.1", f"{name}-injector.{own.name}.svc"),
        host="127.0.0.1",
        admission_port=0,
        control_port=0,
        metrics_port=0,
    )
    where = ClusterSettings(own.name, f"{name}-ca", f"{name}-status", name)
    path = f"{own.path}/configmaps/{name}-platform"
    document = (await asyncio.to_thread(own.client.request, "GET", path))["data"]["platform.yaml"]
    client = await asyncio.to_thread(release.injector_client)
    platform = parse_platform(yaml.safe_load(document))
    metrics = InjectorMetrics()
    observers = Observers(
        lambda kind: metrics.watch_failures.labels(kind).inc(), metrics.show_missing
    )
    parts = cluster_parts(client, where, platform, observers)
    service = Service(settings, platform, parts, metrics)
    await asyncio.to_thread(service.open)
    await asyncio.to_thread(_point, own.client, release, service.ports[0])
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    running = Running(service, own)
    try:
        await _until(running.is_ready)
        yield running
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


def _point(client: KubeClient, release: Release, port: int) -> None:
    """Let the API server call the injector at an address: no Service leads to it here."""
    path = f"{_PATH}/{release.name}"
    configuration = client.request("GET", path)
    for webhook in configuration["webhooks"]:
        service = webhook["clientConfig"].pop("service", None)
        if service is None:
            return  # another replica is asked already
        webhook["clientConfig"]["url"] = f"https://127.0.0.1:{port}{service['path']}"
        # Releases of other tests register webhooks for the same namespaces.
        webhook["namespaceSelector"].setdefault("matchLabels", {})["of"] = release.own.name
    client.request("PUT", path, body=configuration)


async def _until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


def _labelled(namespace: Namespace, own: Namespace, **labels: str) -> None:
    namespace.label(**{"livery.dev/inject": "enabled", "of": own.name, **labels})


async def test_a_pod_is_injected_by_the_api_server_and_told_of_labels(
    client: KubeClient, release: Release
) -> None:
    own = release.own
    shop = await asyncio.to_thread(_make_shop, client)
    async with _injector(release) as running:
        await asyncio.to_thread(_labelled, shop, own, team="frontend")
        service = running.service
        await _until(lambda: "team" in _labels(service, shop.name))
        # The API server learns of a webhook and of a namespace's label a moment later.
        pod = await _create_until_injected(shop)
        await asyncio.to_thread(shop.pod, "quiet")
        await asyncio.to_thread(shop.pod, "opted-out", **{"livery.dev/inject": "false"})
        reviewed = {item.name for item in service.journal.reviews}
        assert reviewed.isdisjoint({"quiet", "opted-out"})  # they never left the API server
        proxy = pod["spec"]["initContainers"][0]
        variables = {item["name"]: item.get("value") for item in proxy["env"]}
        assert variables["LIVERY_NAMESPACE_LABELS"] == f"of={own.name},team=frontend"
        assert "BEGIN CERTIFICATE" in variables["LIVERY_CONTROL_CA"]
        name = pod["metadata"]["name"]
        token = await asyncio.to_thread(shop.token, "default", pod=name)
        trust = ssl.create_default_context(cadata=variables["LIVERY_CONTROL_CA"])
        async with _stream(service.ports[1], trust, token) as messages:
            assert (await anext(messages))["labels"]["team"] == "frontend"
            await asyncio.to_thread(shop.label, team="backend")
            assert (await anext(messages))["labels"]["team"] == "backend"


async def test_a_pod_never_learns_of_another_namespace(
    client: KubeClient, release: Release
) -> None:
    shop, bank = [await asyncio.to_thread(_make_shop, client) for _ in range(2)]
    await asyncio.to_thread(bank.label, team="payments")
    await asyncio.to_thread(shop.pod, "web-0")
    async with _injector(release) as running:
        token = await asyncio.to_thread(shop.token, "default", pod="web-0")
        ports, bundle = running.service.ports, running.service.admission.authorities
        trust = ssl.create_default_context(cadata=bundle)
        asks = (f"namespace={bank.name}", "role=node", "role=gateway", f"pod={bank.name}/web-0")
        for asked in asks:
            status, text = await _ask(ports[1], trust, token, f"/v1/policy?role=pod&{asked}")
            assert "payments" not in text
            assert status in (200, 400, 403)


async def test_pods_that_asked_and_run_without_a_proxy_are_counted(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(drift, "AGAIN_SECONDS", 0.2)
    shop = await asyncio.to_thread(_make_shop, client)
    asks = {"prometheus.io/scrape": "true"}
    await asyncio.to_thread(shop.pod, "old", **asks)
    await asyncio.to_thread(shop.pod, "quiet")
    await asyncio.to_thread(shop.pod, "refuses", **asks, **{"livery.dev/inject": "false"})

    async with _injector(release) as running:

        def missing() -> float | None:
            samples = next(iter(running.service.metrics.missing.collect())).samples
            return next(
                (item.value for item in samples if item.labels["namespace"] == shop.name), None
            )

        assert missing() is None  # nobody asked for proxies there
        await asyncio.to_thread(_labelled, shop, release.own)
        await _until(lambda: missing() == 1)
        await _create_until_injected(shop)
        path = f"{shop.path}/pods/old"
        await asyncio.to_thread(client.request, "DELETE", path, query={"gracePeriodSeconds": "0"})
        # Those that were made before the webhook was known lack one as well.
        pods = await asyncio.to_thread(client.request, "GET", f"{shop.path}/pods")
        lacking = sum(
            item["metadata"].get("annotations", {}).get("prometheus.io/scrape") == "true"
            and not item["spec"].get("initContainers")
            and item["metadata"]["name"] not in ("refuses", "old")
            for item in pods["items"]
        )
        await _until(lambda: missing() == lacking)


async def test_the_status_of_an_object_says_what_is_in_force(
    client: KubeClient, release: Release
) -> None:
    shop = await asyncio.to_thread(_make_shop, client)
    path = f"/apis/{API_VERSION}/namespaces/{shop.name}/metricaccesses"
    spec = {"metrics": ["up", "("], "metricIsolation": False}
    body = {"apiVersion": API_VERSION, "kind": "MetricAccess", "metadata": {"name": "rules"}}
    await asyncio.to_thread(client.request, "POST", path, body={**body, "spec": spec})

    async def conditions() -> dict[str, Any]:
        found = await asyncio.to_thread(client.request, "GET", f"{path}/rules")
        items = (found.get("status") or {}).get("conditions") or []
        return {item["type"]: item for item in items}

    async with _injector(release):
        await _until(conditions)
        accepted = (await conditions())["Accepted"]
        assert (accepted["status"], accepted["reason"]) == ("True", "SomePatternsInvalid")
        assert "pattern '('" in accepted["message"]
        assert "not granted by the platform" in accepted["message"]
        change = {"spec": {"metrics": ["up"], "metricIsolation": True}}
        patch = "application/merge-patch+json"
        await asyncio.to_thread(
            client.request, "PATCH", f"{path}/rules", body=change, content_type=patch
        )

        async def is_told() -> bool:
            now = (await conditions())["Accepted"]
            return bool(now["observedGeneration"] == 2 and now["reason"] == "Accepted")

        await _until(is_told)
        after = (await conditions())["Accepted"]
        assert after["lastTransitionTime"] == accepted["lastTransitionTime"]  # it stayed true
        assert (await conditions())["Ready"]["status"] == "True"
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{release.own.name}/leases"
    held = await asyncio.to_thread(client.request, "GET", f"{lease}/{release.name}-status")
    assert held["spec"]["holderIdentity"] == ""  # given up at the end


async def test_a_new_authority_takes_over_with_no_pod_left_out(
    client: KubeClient, release: Release
) -> None:
    own = release.own
    shop = await asyncio.to_thread(_make_shop, client)
    store = SecretStore(client, own.name, f"{release.name}-ca")
    async with _injector(release) as first, _injector(release) as second:
        await asyncio.to_thread(_labelled, shop, own)
        await _until(lambda: "of" in _labels(second.service, shop.name))
        await _create_until_injected(shop)
        before = second.service.admission.authorities
        assert first.service.admission.authorities == before
        renewed = asyncio.create_task(
            asyncio.to_thread(Rotation(store, ["x"]).renew_authority, datetime.now(UTC))
        )
        # Pods go on being made, and every one gets its proxy.
        for number in range(150):
            annotations = {"prometheus.io/scrape": "true"}
            pod = await asyncio.to_thread(shop.pod, f"during-{number}", **annotations)
            assert pod["spec"].get("initContainers"), f"pod {number} has no proxy"
        await renewed
        await _until(lambda: first.service.admission.authorities != before)
        await _until(lambda: second.service.admission.authorities != before)
        after = first.service.admission.authorities
        assert second.service.admission.authorities == after
        assert before in after
        assert await asyncio.to_thread(WebhookBundle(client, release.name).is_published, after)
        pod = await asyncio.to_thread(shop.pod, "afterwards", **{"prometheus.io/scrape": "true"})
        assert pod["spec"]["initContainers"][0]["name"] == "livery-proxy"


def _make_shop(client: KubeClient) -> Namespace:
    shop = make_namespace(client, "shop")
    shop.create("serviceaccounts", "default")
    return shop


def _labels(service: Service, name: str) -> dict[str, str]:
    found = service.world.namespace(name)
    return {} if found is None else dict(found.labels)


async def _create_until_injected(shop: Namespace) -> dict[str, Any]:
    async with asyncio.timeout(20):
        for number in range(1000):
            annotations = {"prometheus.io/scrape": "true"}
            pod = await asyncio.to_thread(shop.pod, f"web-{number}", **annotations)
            if pod["spec"].get("initContainers"):
                return pod
            await asyncio.sleep(0.1)
    raise AssertionError("no pod was injected")


@contextlib.asynccontextmanager
async def _stream(
    port: int, trust: ssl.SSLContext, token: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Give the policies of a stream."""
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


async def _ask(port: int, trust: ssl.SSLContext, token: str, target: str) -> tuple[int, str]:
    connection = await Connection.open("127.0.0.1", port, tls=trust, server_name="127.0.0.1")
    headers = {"Host": "x", "Authorization": f"Bearer {token}"}
    status = await connection.send(render_request("GET", target, headers))
    parts = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while part := await connection.read():
                parts.append(part)
    connection.close()
    return status, b"".join(parts).decode()

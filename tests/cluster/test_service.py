"""An injector on a real API server: pods admitted by its webhook, labels sent by its stream."""

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
from webhook_certs.rotation import Rotation

from injector.control import hub
from injector.errors import KubeError
from injector.kube.api.client import MERGE, KubeClient
from injector.kube.certificates.published import WebhookBundle
from injector.kube.certificates.secrets import SecretStore
from injector.kube.objects import proxy_troubles as monitor
from sidecar.model.access.objects import API_VERSION
from tests.cluster.fixtures import Release
from tests.cluster.injector import (
    ask,
    create_until_injected,
    known_labels,
    label_for_injection,
    make_shop,
    open_stream,
    running_injector,
    until,
)

pytestmark = pytest.mark.anyio


async def test_a_pod_is_injected_by_the_api_server_and_told_of_labels(
    client: KubeClient, release: Release
) -> None:
    own = release.own
    shop = await asyncio.to_thread(make_shop, client)
    async with running_injector(release) as running:
        await asyncio.to_thread(label_for_injection, shop, own, team="frontend")
        service = running.service
        await until(lambda: "team" in known_labels(service, shop.name))
        # The API server sees a new webhook or namespace label after a moment.
        pod = await create_until_injected(shop)
        await asyncio.to_thread(shop.pod, "quiet")
        await asyncio.to_thread(shop.pod, "opted-out", **{"livery.dev/inject": "false"})
        reviewed = {item.name for item in service.journal.reviews}
        assert reviewed.isdisjoint({"quiet", "opted-out"})  # the API server never sent them
        proxy = pod["spec"]["initContainers"][0]
        variables = {item["name"]: item.get("value") for item in proxy["env"]}
        assert variables["LIVERY_NAMESPACE_LABELS"] == f"of={own.name},team=frontend"
        assert "BEGIN CERTIFICATE" in variables["LIVERY_CONTROL_CA"]
        name = pod["metadata"]["name"]
        token = await asyncio.to_thread(shop.token, "default", pod=name)
        trust = ssl.create_default_context(cadata=variables["LIVERY_CONTROL_CA"])
        async with open_stream(service.ports[1], trust, token) as messages:
            assert (await anext(messages))["labels"]["team"] == "frontend"
            await asyncio.to_thread(shop.label, team="backend")
            assert (await anext(messages))["labels"]["team"] == "backend"


async def test_without_an_injector_only_what_changes_its_pods_waits_for_a_node_proxy_daemon_set(
    client: KubeClient, release: Release
) -> None:
    own = release.own
    path = f"/apis/apps/v1/namespaces/{own.name}/daemonsets"
    labels = {"livery.dev/role": "node", "of": own.name}
    metadata = {"name": "node-proxy", "labels": labels}
    own.label(of=own.name)
    async with running_injector(release):
        body = {"metadata": metadata, "spec": {"template": {}}}

        async def is_made() -> bool:
            try:
                await asyncio.to_thread(client.request, "POST", path, body=body)
            except KubeError:
                return False
            return True

        await until(is_made)
    one = f"{path}/node-proxy"
    changes: tuple[dict[str, Any], ...] = (
        {"metadata": {"annotations": {"note": "x"}}},
        {"metadata": {"finalizers": []}},
    )
    for change in changes:
        await asyncio.to_thread(client.request, "PATCH", one, body=change, content_type=MERGE)
    spec = {"spec": {"minReadySeconds": 7}}
    with pytest.raises(KubeError, match=r"prepare\.livery\.dev"):
        await asyncio.to_thread(client.request, "PATCH", one, body=spec, content_type=MERGE)
    await asyncio.to_thread(client.request, "DELETE", one)


async def test_a_pod_never_learns_of_another_namespace(
    client: KubeClient, release: Release
) -> None:
    shop, bank = [await asyncio.to_thread(make_shop, client) for _ in range(2)]
    await asyncio.to_thread(bank.label, team="payments")
    await asyncio.to_thread(shop.pod, "web-0")
    async with running_injector(release) as running:
        token = await asyncio.to_thread(shop.token, "default", pod="web-0")
        ports, bundle = running.service.ports, running.service.admission.ca_bundle
        trust = ssl.create_default_context(cadata=bundle)
        asks = (f"namespace={bank.name}", "role=node", "role=gateway", f"pod={bank.name}/web-0")
        for asked in asks:
            status, text = await ask(ports[1], trust, token, f"/v1/policy?role=pod&{asked}")
            assert "payments" not in text
            assert status in (200, 400, 403)


async def test_pods_that_asked_and_run_without_a_proxy_are_counted(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(monitor, "AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(monitor, "CHANGED_SECONDS", 0.2)
    shop = await asyncio.to_thread(make_shop, client)
    asks = {"prometheus.io/scrape": "true"}
    await asyncio.to_thread(shop.pod, "old", **asks)
    await asyncio.to_thread(shop.pod, "quiet")
    await asyncio.to_thread(shop.pod, "refuses", **asks, **{"livery.dev/inject": "false"})

    async with running_injector(release) as running:

        def missing() -> float | None:
            samples = next(iter(running.service.metrics.missing.collect())).samples
            return next(
                (item.value for item in samples if item.labels["namespace"] == shop.name), None
            )

        assert missing() is None  # injection is not enabled there
        await asyncio.to_thread(label_for_injection, shop, release.own)
        await until(lambda: missing() == 1)
        await create_until_injected(shop)
        path = f"{shop.path}/pods/old"
        await asyncio.to_thread(client.request, "DELETE", path, query={"gracePeriodSeconds": "0"})
        # Pods created before the API server knew the webhook lack one as well.
        pods = await asyncio.to_thread(client.request, "GET", f"{shop.path}/pods")
        lacking = sum(
            item["metadata"].get("annotations", {}).get("prometheus.io/scrape") == "true"
            and not item["spec"].get("initContainers")
            and item["metadata"]["name"] not in ("refuses", "old")
            for item in pods["items"]
        )
        await until(lambda: missing() == lacking)


async def test_a_deleted_pod_s_stream_says_no_more_and_its_token_is_refused(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PING_SECONDS", 0.1)
    shop = await asyncio.to_thread(make_shop, client)
    await asyncio.to_thread(shop.pod, "web-0")
    async with running_injector(release) as running:
        port = running.service.ports[1]
        trust = ssl.create_default_context(cadata=running.service.admission.ca_bundle)
        token = await asyncio.to_thread(shop.token, "default", pod="web-0")
        async with open_stream(port, trust, token) as messages:
            assert (await anext(messages))["namespace"] == shop.name
            path = f"{shop.path}/pods/web-0"
            await asyncio.to_thread(
                client.request, "DELETE", path, query={"gracePeriodSeconds": "0"}
            )
            async with asyncio.timeout(5):  # the API server caches the token for 10 s
                assert [item async for item in messages] == []
        status, text = await ask(port, trust, token, "/v1/policy?role=pod")
        assert (status, "deleted" in text) == (401, True)


async def test_a_pod_that_asked_and_has_no_proxy_is_told_why_once(
    client: KubeClient, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(monitor, "AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(monitor, "CHANGED_SECONDS", 0.2)
    shop = await asyncio.to_thread(make_shop, client)
    asks = {"prometheus.io/scrape": "true"}
    await asyncio.to_thread(shop.pod, "old", **asks)
    await asyncio.to_thread(shop.pod, "lost", **asks, **{"prometheus.io/port": "nowhere"})
    await asyncio.to_thread(shop.pod, "refuses", **asks, **{"livery.dev/inject": "false"})
    await asyncio.to_thread(shop.label, **{"livery.dev/inject": "enabled", "of": "nobody"})

    async with running_injector(release) as first, running_injector(release) as second:

        async def messages() -> list[tuple[str, str]]:
            path = f"{shop.path}/events"
            found = await asyncio.to_thread(client.request, "GET", path)
            return sorted(
                (item["involvedObject"]["name"], item["message"]) for item in found["items"]
            )

        async def are_told() -> bool:
            return len(await messages()) >= 2

        await until(are_told)
        await asyncio.sleep(1)  # both replicas checked several times
        (lost, why), (old, how) = await messages()
        assert (lost, old) == ("lost", "old")
        assert "its annotations name no target that can be scraped" in why
        assert "restart it" in how
        assert first.service is not second.service


async def test_the_status_of_an_object_says_what_is_in_force(
    client: KubeClient, release: Release
) -> None:
    shop = await asyncio.to_thread(make_shop, client)
    path = f"/apis/{API_VERSION}/namespaces/{shop.name}/metricaccesses"
    spec = {"metrics": ["up", "("], "metricIsolation": False}
    body = {"apiVersion": API_VERSION, "kind": "MetricAccess", "metadata": {"name": "rules"}}
    await asyncio.to_thread(client.request, "POST", path, body={**body, "spec": spec})

    async def conditions() -> dict[str, Any]:
        found = await asyncio.to_thread(client.request, "GET", f"{path}/rules")
        items = (found.get("status") or {}).get("conditions") or []
        return {item["type"]: item for item in items}

    async with running_injector(release):
        await until(conditions)
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

        await until(is_told)
        after = (await conditions())["Accepted"]
        assert after["lastTransitionTime"] == accepted["lastTransitionTime"]  # it stayed true
        assert (await conditions())["Ready"]["status"] == "True"
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{release.own.name}/leases"
    held = await asyncio.to_thread(client.request, "GET", f"{lease}/{release.name}-status")
    assert held["spec"]["holderIdentity"] == ""  # released at the end


async def test_a_new_authority_takes_over_with_no_pod_left_out(
    client: KubeClient, release: Release
) -> None:
    own = release.own
    shop = await asyncio.to_thread(make_shop, client)
    store = SecretStore(client, own.name, f"{release.name}-ca")
    async with running_injector(release) as first, running_injector(release) as second:
        await asyncio.to_thread(label_for_injection, shop, own)
        await until(lambda: "of" in known_labels(second.service, shop.name))
        await create_until_injected(shop)
        before = second.service.admission.ca_bundle
        assert first.service.admission.ca_bundle == before
        renewed = asyncio.create_task(
            asyncio.to_thread(Rotation(store, ["x"]).renew_authority, datetime.now(UTC))
        )
        # Pods are still created, and every one gets its proxy.
        for number in range(150):
            annotations = {"prometheus.io/scrape": "true"}
            pod = await asyncio.to_thread(shop.pod, f"during-{number}", **annotations)
            assert pod["spec"].get("initContainers"), f"pod {number} has no proxy"
        await renewed
        await until(lambda: first.service.admission.ca_bundle != before)
        await until(lambda: second.service.admission.ca_bundle != before)
        after = first.service.admission.ca_bundle
        assert second.service.admission.ca_bundle == after
        assert before in after
        assert await asyncio.to_thread(WebhookBundle(client, release.name).is_published, after)
        pod = await asyncio.to_thread(shop.pod, "afterwards", **{"prometheus.io/scrape": "true"})
        assert pod["spec"]["initContainers"][0]["name"] == "livery-proxy"

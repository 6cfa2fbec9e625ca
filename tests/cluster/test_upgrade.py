"""Upgrade from the previous chart: running pods keep their trust."""

import asyncio
import ssl
from pathlib import Path

import pytest

from injector.kube.api.client import KubeClient
from sidecar.model.access.objects import API_VERSION
from tests.cluster.fixtures import CHART, installed_chart
from tests.cluster.injector import (
    create_until_injected,
    label_for_injection,
    make_shop,
    open_stream,
    point_back,
    running_injector,
)
from tests.real_parts.kubernetes import ApiServer

pytestmark = pytest.mark.anyio

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
(PREVIOUS,) = Path(__file__).parent.glob("livery-*.tgz")


def test_values_of_the_earlier_chart_stay_as_readme_says(
    api_server: ApiServer, client: KubeClient
) -> None:
    with installed_chart(
        api_server, client, "--set", "injector.replicas=1", chart=PREVIOUS
    ) as release:
        reused = ("--reset-then-reuse-values", "--set", "node.enabled=true")
        release.helm("upgrade", release.name, str(CHART), *reused)
        path = f"/apis/apps/v1/namespaces/{release.own.name}/deployments/{release.name}-injector"
        assert client.request("GET", path)["spec"]["replicas"] == 1


async def test_an_upgrade_keeps_the_ca_the_objects_and_every_pod_s_trust(
    api_server: ApiServer, client: KubeClient
) -> None:
    with installed_chart(api_server, client, chart=PREVIOUS) as release:
        shop = await asyncio.to_thread(make_shop, client)
        rules = f"/apis/{API_VERSION}/namespaces/{shop.name}/metricaccesses"
        body = {"apiVersion": API_VERSION, "kind": "MetricAccess", "metadata": {"name": "r"},
                "spec": {"metrics": ["up"]}}  # fmt: skip
        await asyncio.to_thread(client.request, "POST", rules, body=body)
        async with running_injector(release):
            await asyncio.to_thread(label_for_injection, shop, release.own, team="frontend")
            pod = await create_until_injected(shop)
        secret = f"{release.own.path}/secrets/{release.name}-ca"
        before = await asyncio.to_thread(client.request, "GET", secret)

        await asyncio.to_thread(point_back, client, release)

        await asyncio.to_thread(release.helm, "upgrade", release.name, str(CHART))

        after = await asyncio.to_thread(client.request, "GET", secret)
        assert after["data"] == before["data"]
        kept = await asyncio.to_thread(client.request, "GET", f"{rules}/r")
        assert kept["spec"]["metrics"] == ["up"]
        path = f"{CONFIGURATIONS}/{release.name}"
        for webhook in (await asyncio.to_thread(client.request, "GET", path))["webhooks"]:
            assert webhook["clientConfig"]["caBundle"]
        async with running_injector(release) as running:
            variables = {
                item["name"]: item.get("value", "")
                for item in pod["spec"]["initContainers"][0]["env"]
            }
            trust = ssl.create_default_context(cadata=variables["LIVERY_CONTROL_CA"])
            token = await asyncio.to_thread(shop.token, "default", pod=pod["metadata"]["name"])
            async with open_stream(running.service.ports[1], trust, token) as messages:
                assert (await anext(messages))["labels"]["team"] == "frontend"
            other = await asyncio.to_thread(make_shop, client)
            await asyncio.to_thread(label_for_injection, other, release.own)
            await create_until_injected(other)

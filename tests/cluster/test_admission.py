"""Admission together with restricted pods, LimitRanges, quotas, dry runs, other webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from tests.cluster.fixtures import Namespace, Release
from tests.cluster.injector import (
    Running,
    create_until_injected,
    label_for_injection,
    make_shop,
    running_injector,
    until,
)
from tests.cluster.other_webhook import other_webhook

pytestmark = pytest.mark.anyio

ASKS = {"prometheus.io/scrape": "true"}
SMALL = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "10m", "memory": "10Mi"}}


@asynccontextmanager
async def _shop(release: Release) -> AsyncIterator[tuple[Namespace, Running]]:
    """A namespace in which injection already works."""
    shop = await asyncio.to_thread(make_shop, release.own.client)
    async with running_injector(release) as running:
        await asyncio.to_thread(label_for_injection, shop, release.own)
        await create_until_injected(shop)
        yield shop, running


def _create(shop: Namespace, name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": "web:1", "resources": SMALL}]
    metadata = {"annotations": ASKS}
    return shop.create("pods", name, metadata=metadata, spec={"containers": containers, **spec})


def _proxies(pod: dict[str, Any]) -> list[dict[str, Any]]:
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return [item for item in containers if item["name"] == "livery-proxy"]


async def test_a_restricted_namespace_takes_the_pod_with_its_proxy(release: Release) -> None:
    async with _shop(release) as (shop, _):
        await asyncio.to_thread(shop.label, **{"pod-security.kubernetes.io/enforce": "restricted"})
        restricted = {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        containers = [{"name": "web", "image": "web:1", "securityContext": restricted}]

        pod = await asyncio.to_thread(_create, shop, "good", containers=containers)

        assert len(_proxies(pod)) == 1


async def test_a_limit_range_takes_the_proxy_that_was_fitted_into_it(release: Release) -> None:
    async with _shop(release) as (shop, running):
        most = {"cpu": "100m", "memory": "64Mi"}
        limits = {"limits": [{"type": "Container", "max": most, "default": most}]}
        await asyncio.to_thread(shop.create, "limitranges", "small", spec=limits)
        await until(lambda: running.service.cluster.in_namespace("LimitRange", shop.name))

        pod = await asyncio.to_thread(_create, shop, "fits")

        (proxy,) = _proxies(pod)
        assert proxy["resources"]["limits"] == most
        too_much = {"resources": {"limits": {"cpu": "1"}}, "name": "web", "image": "web:1"}
        with pytest.raises(KubeError, match="maximum cpu usage"):
            await asyncio.to_thread(_create, shop, "not", containers=[too_much])


@pytest.mark.parametrize(
    "item",
    [
        {"maxLimitRequestRatio": {"ephemeral-storage": "1"}},
        {"maxLimitRequestRatio": {"ephemeral-storage": "2"},
         "default": {"ephemeral-storage": "4Gi"}, "defaultRequest": {"ephemeral-storage": "1Gi"}},
        {"min": {"ephemeral-storage": "80Mi"}, "max": {"ephemeral-storage": "90Mi"}},
        {"max": {"example.com/gpu": "4"}},
    ],
    ids=str,
)  # fmt: skip
async def test_no_resource_that_a_limit_range_names_makes_the_pod_be_refused(
    release: Release, item: dict[str, Any]
) -> None:
    async with _shop(release) as (shop, running):
        limits = {"limits": [{"type": "Container", **item}]}
        await asyncio.to_thread(shop.create, "limitranges", "odd", spec=limits)
        await until(lambda: running.service.cluster.in_namespace("LimitRange", shop.name))
        names = {name for values in item.values() for name in values}
        own = {name: "85Mi" if name == "ephemeral-storage" else "1" for name in names}
        resources = {"requests": SMALL["requests"] | own, "limits": SMALL["limits"] | own}
        containers = [{"name": "web", "image": "web:1", "resources": resources}]

        pod = await asyncio.to_thread(_create, shop, "fits", containers=containers)

        assert len(_proxies(pod)) == 1


async def test_a_quota_counts_the_proxy_and_is_the_one_that_refuses(release: Release) -> None:
    async with _shop(release) as (shop, _):
        hard = {"limits.memory": "200Mi", "requests.cpu": "1"}
        quota = await asyncio.to_thread(shop.create, "resourcequotas", "q", spec={"hard": hard})
        path = f"{shop.path}/resourcequotas/q"
        status = {"hard": hard, "used": {"limits.memory": "0", "requests.cpu": "0"}}
        body = {**quota, "status": status}
        await asyncio.to_thread(shop.client.request, "PUT", f"{path}/status", body=body)
        made: list[dict[str, Any]] = []
        refusal = ""

        async def is_full() -> bool:
            nonlocal refusal
            try:
                made.append(await asyncio.to_thread(_create, shop, f"q-{len(made)}"))
            except KubeError as error:
                refusal = str(error)
            return bool(refusal)

        await until(is_full)
        assert "exceeded quota: q" in refusal
        assert "limits.memory=138Mi" in refusal  # 10 of the application, 128 of the proxy
        used = (await asyncio.to_thread(shop.client.request, "GET", path))["status"]["used"]
        assert used["limits.memory"] == "138Mi"


async def test_a_dry_run_shows_the_proxy_and_leaves_nothing(release: Release) -> None:
    async with _shop(release) as (shop, _):
        body = {
            "metadata": {"name": "dry", "annotations": ASKS},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        query = {"dryRun": "All"}
        pods = f"{shop.path}/pods"
        pod = await asyncio.to_thread(shop.client.request, "POST", pods, query=query, body=body)

        assert len(_proxies(pod)) == 1
        with pytest.raises(KubeError, match="not found"):
            await asyncio.to_thread(shop.client.request, "GET", f"{pods}/dry")


_MORE = {"name": "more", "image": "more:1", "ports": [{"containerPort": 9102}]}


@pytest.mark.parametrize(
    ("order", "patch", "pod", "is_injected"),
    [
        # It requests a proxy for the pod, and ours runs after it.
        ("aaa", [{"op": "add", "path": "/metadata/annotations", "value": ASKS}], {}, True),
        # It adds a container after ours ran; ours is called again and changes nothing more.
        ("zzz", [{"op": "add", "path": "/spec/containers/-", "value": _MORE}], ASKS, True),
        ("aaa", [{"op": "add", "path": "/spec/containers/-", "value": _MORE}], ASKS, True),
        ("zzz", [{"op": "add", "path": "/spec/containers/-", "value": _MORE}], {}, False),
    ],
)
async def test_a_pod_that_another_webhook_changes_gets_one_proxy(
    client: KubeClient,
    release: Release,
    order: str,
    patch: list[dict[str, Any]],
    pod: dict[str, str],
    is_injected: bool,
) -> None:
    async with _shop(release) as (shop, _):
        with other_webhook(client, f"{order}-{shop.name}", shop.name, patch) as seen:
            made: dict[str, Any] = {}

            async def is_changed() -> bool:
                nonlocal made
                made = await asyncio.to_thread(shop.pod, f"web-{len(seen)}-{id(made)}", **pod)
                return bool(seen)

            await until(is_changed)
        assert made["metadata"]["labels"]["other"] == "1"
        assert len(_proxies(made)) == int(is_injected)
        tokens = [item for item in made["spec"]["volumes"] if item["name"] == "livery-token"]
        assert len(tokens) == int(is_injected)


async def test_the_injector_s_own_namespace_is_never_asked_about(release: Release) -> None:
    async with _shop(release) as (_, running):
        await asyncio.to_thread(label_for_injection, release.own, release.own)
        await asyncio.sleep(1)
        pod = await asyncio.to_thread(release.own.pod, "own", **ASKS)

        assert _proxies(pod) == []
        assert "own" not in {item.name for item in running.service.journal.reviews}

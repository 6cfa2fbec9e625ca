"""The chart's other modes: a policy instead of the webhook, a provided certificate."""

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from webhook_certs.authority import create_authority

from injector.errors import KubeError
from injector.kube.api.client import MERGE, KubeClient
from injector.model.admission.templates import template_hash
from sidecar.errors import UpstreamError
from tests.cluster.fixtures import Namespace, Release, installed_chart, make_namespace
from tests.cluster.injector import (
    create_until_injected,
    label_for_injection,
    make_shop,
    open_stream,
    running_injector,
    until,
)
from tests.cluster.versions import needs_mutating_policies
from tests.real_parts.kubernetes import ApiServer
from tests.webhook_certs.test_provided import provided

pytestmark = pytest.mark.anyio


@pytest.fixture
def by_policy(api_server: ApiServer, client: KubeClient) -> Iterator[Release]:
    with installed_chart(api_server, client, "--set", "injection.mode=policy") as made:
        yield made


@needs_mutating_policies
async def test_a_pod_injected_by_policy_is_told_of_labels_as_any_other(
    client: KubeClient, by_policy: Release
) -> None:
    asks = {"livery.dev/inject": "enabled", "team": "frontend"}
    shop = await asyncio.to_thread(make_namespace, client, "shop", asks)
    where = {"webhook_configuration": "", "policy_secret": f"{by_policy.name}-policy"}
    async with running_injector(by_policy, **where) as running:
        # Without the Secret a pod would get no CA; the API server sees it after a moment.
        await asyncio.sleep(1)
        pod = await create_until_injected(shop)
        proxy = pod["spec"]["initContainers"][0]
        variables = {item["name"]: item.get("value") for item in proxy["env"]}
        name = f"{by_policy.name}-injector.{by_policy.own.name}.svc"
        assert variables["LIVERY_CONTROL_URL"] == f"https://{name}:8444"
        assert variables["LIVERY_NAMESPACE_LABELS"] == "team=frontend"
        trust = ssl.create_default_context(cadata=variables["LIVERY_CONTROL_CA"])
        token = await asyncio.to_thread(shop.token, "default", pod=pod["metadata"]["name"])
        async with open_stream(running.service.ports[1], trust, token) as messages:
            assert (await anext(messages))["labels"]["team"] == "frontend"
            await asyncio.to_thread(shop.label, team="backend")
            assert (await anext(messages))["labels"]["team"] == "backend"


async def test_a_pod_injected_by_hand_from_the_cluster_is_whole_and_of_this_installation(
    api_server: ApiServer, client: KubeClient
) -> None:
    values = ("injection.mode=none", "image.registry=registry.example", "labels.prefix=ns_")
    sets = [part for value in values for part in ("--set", value)]
    with installed_chart(api_server, client, *sets) as release:
        shop = await asyncio.to_thread(make_namespace, client, "shop", {"team": "frontend"})
        where: dict[str, Any] = {
            "webhook_configuration": "",
            "ca_bundle_map": f"{release.name}-authorities",
        }
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "namespace": shop.name,
                "annotations": {"prometheus.io/scrape": "true"},
            },
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        arguments = (
            "inject", "--from-cluster", "--livery-namespace", release.own.name,
            "--release", release.name, "-f", "-",
        )  # fmt: skip
        async with running_injector(release, **where) as running:
            await until(lambda: _authorities(release))
            text = json.dumps(manifest)
            ran = await asyncio.to_thread(_livery, api_server, *arguments, manifests=text)
            assert (ran.returncode, "warning" in ran.stderr) == (0, False), ran.stderr
            pod = yaml.safe_load(ran.stdout)
            body = {key: pod[key] for key in ("metadata", "spec")}
            await asyncio.to_thread(shop.create, "pods", "web", **body)
            variables = _variables(pod)
            assert variables["LIVERY_NAMESPACE_LABELS"] == "team=frontend"
            assert variables["LIVERY_CONTROL_ADDRESS"]
            image = pod["spec"]["initContainers"][0]["image"]
            assert image.startswith("registry.example/livery-sidecar:")
            token = await asyncio.to_thread(shop.token, "default", pod="web")
            trust = ssl.create_default_context(cadata=variables["LIVERY_CONTROL_CA"])
            async with open_stream(running.service.ports[1], trust, token) as messages:
                assert (await anext(messages))["labels"] == {"team": "frontend"}
            status = json.loads(pod["metadata"]["annotations"]["livery.dev/status"])
            assert status["template"] == template_hash(running.service.admission.platform)
            await _is_explained(api_server, release, shop)
        lost = await asyncio.to_thread(_livery, api_server, "inject", "--from-cluster", "-f", "-")
        assert lost.returncode == 2
        assert "there is no ConfigMap livery-system/livery-platform" in lost.stderr


async def _is_explained(api_server: ApiServer, release: Release, shop: Namespace) -> None:
    """Check that `livery explain pod` says, by pod name, why a pod has a proxy or not."""
    await asyncio.to_thread(shop.pod, "bare", **{"prometheus.io/scrape": "true"})
    where = ("-n", shop.name, "--livery-namespace", release.own.name, "--release", release.name)

    async def explain(name: str) -> list[str]:
        ran = await asyncio.to_thread(_livery, api_server, "explain", "pod", name, *where)
        return [ran.stderr] if ran.returncode else ran.stdout.splitlines()

    assert (await explain("web"))[1].startswith("  has a proxy: registry.example/livery-sidecar:")
    assert (await explain("bare"))[1:4] == [
        f"  would not be injected: namespace {shop.name} lacks livery.dev/inject=enabled",
        f"      kubectl label namespace {shop.name} livery.dev/inject=enabled",
        "  with that label: injected (injected): the proxy was added",
    ]
    assert f"there is no pod gone in namespace {shop.name}" in (await explain("gone"))[0]
    installation = ("--namespace", release.own.name, "--release", release.name)
    ran = await asyncio.to_thread(_livery, api_server, "doctor", "-o", "json", *installation)
    said = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert said["problems"] == sum(not item["ok"] for item in said["findings"]) > 0
    assert all(item["remedy"] for item in said["findings"] if not item["ok"])


def _livery(
    api_server: ApiServer, *arguments: str, manifests: str = "kind: A"
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "KUBECONFIG": str(api_server.kubeconfig)}
    return subprocess.run(
        [sys.executable, "-m", "injector", *arguments],
        input=manifests, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def _authorities(release: Release) -> bool:
    path = f"{release.own.path}/configmaps/{release.name}-authorities"
    return bool((release.own.client.request("GET", path).get("data") or {}).get("ca.crt"))


async def test_an_injector_without_the_right_to_change_its_webhook_is_trusted_by_what_is_given(
    client: KubeClient, api_server: ApiServer, tmp_path: Path
) -> None:
    authority = create_authority("one", _now())
    (tmp_path / "ca.pem").write_text(authority.certificate_pem)
    values = "certificates.mode=provided,certificates.secretName=theirs,certificates.publish=false"
    sets = ("--set", values, "--set-file", f"certificates.caBundle={tmp_path / 'ca.pem'}")
    with installed_chart(api_server, client, *sets) as release:
        own = release.own
        name = f"{release.name}-injector.{own.name}.svc"
        files = provided(name, "127.0.0.1", authority=authority, now=_now())
        own.create("secrets", "theirs", type="kubernetes.io/tls", data=_encode(files))
        shop = make_shop(client)
        async with running_injector(
            release, certificate_secret="theirs", publishes_to_webhook=False
        ):
            label_for_injection(shop, own)
            await create_until_injected(shop)
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
        with pytest.raises(KubeError, match="403"):
            release.injector_client().request("GET", f"{path}/{release.name}")


async def test_a_provided_certificate_is_served_and_followed_when_it_is_renewed(
    client: KubeClient, api_server: ApiServer
) -> None:
    values = ("certificates.mode=provided", "certificates.secretName=theirs")
    sets = [part for value in values for part in ("--set", value)]
    with installed_chart(api_server, client, *sets) as release:
        own = release.own
        name = f"{release.name}-injector.{own.name}.svc"
        first, second = create_authority("one", _now()), create_authority("two", _now())
        files = provided(name, "127.0.0.1", authority=first, now=_now())
        own.create("secrets", "theirs", type="kubernetes.io/tls", data=_encode(files))
        shop = make_shop(client)
        async with running_injector(release, certificate_secret="theirs") as running:
            label_for_injection(shop, own)
            pod = await create_until_injected(shop)
            assert files["ca.crt"] in str(_variables(pod)["LIVERY_CONTROL_CA"])
            token = await asyncio.to_thread(shop.token, "default", pod=pod["metadata"]["name"])
            port = running.service.ports[1]
            path = f"{own.path}/secrets/theirs"
            # The next CA is published before it signs anything.
            both = files["ca.crt"] + second.certificate_pem
            coming = {"data": _encode({"ca.crt": both})}
            client.request("PATCH", path, body=coming, content_type=MERGE)
            admission = running.service.admission
            await until(lambda: second.certificate_pem in admission.ca_bundle)
            assert await running.is_ready()
            changed = {"data": _encode(provided(name, "127.0.0.1", authority=second, now=_now()))}
            client.request("PATCH", path, body=changed, content_type=MERGE)
            trust = ssl.create_default_context(cadata=second.certificate_pem)

            async def is_served() -> bool:
                try:
                    async with open_stream(port, trust, token) as messages:
                        return bool((await anext(messages))["namespace"] == shop.name)
                except UpstreamError:
                    return False

            await until(is_served)
            # Pods that start now trust both: another replica may still serve the old certificate.
            bundle = running.service.admission.ca_bundle
            assert first.certificate_pem in bundle
            assert second.certificate_pem in bundle
            changed = {"data": _encode({"tls.key": "nonsense"})}
            client.request("PATCH", path, body=changed, content_type=MERGE)
            await asyncio.sleep(0.5)
            assert await is_served()  # an unusable certificate does not stop serving


def _now() -> datetime:
    return datetime.now(UTC)


def _encode(files: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}


def _variables(pod: dict[str, object]) -> dict[str, str | None]:
    spec = pod["spec"]
    assert isinstance(spec, dict)
    return {item["name"]: item.get("value") for item in spec["initContainers"][0]["env"]}

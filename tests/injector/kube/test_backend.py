"""A cluster's backend: where the CA is published, who issues certificates, and its other tasks."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from webhook_certs.carried import CarriedTrust
from webhook_certs.rotation import Rotation

from injector.control.backend import Backend
from injector.kube.api.client import KubeClient
from injector.kube.backend import ClusterSettings, Observers, cluster_backend
from injector.platform.settings import Platform
from tests.injector.kube.servers import Answer, event, listed, misbehaving

pytestmark = pytest.mark.anyio

_OBSERVERS = Observers(lambda kind: None, lambda counts: None)
_SETTINGS = ClusterSettings("livery-system", "livery-ca", "", "")


def _backend(client: KubeClient, settings: ClusterSettings) -> Backend:
    return cluster_backend(client, settings, Platform(), _OBSERVERS)


async def _run(task: Callable[[], Awaitable[None]]) -> None:
    await task()


def _nothing(path: str, query: dict[str, str]) -> Answer:
    return 404, b"{}"


@pytest.mark.parametrize(
    "settings",
    [
        _SETTINGS._replace(webhook_configuration="mine"),
        _SETTINGS._replace(policy_secret="mine"),
        _SETTINGS._replace(ca_bundle_map="mine"),
    ],
    ids=["webhook", "policy", "node proxies"],
)
def test_the_ca_is_published_where_the_installation_reads_it(settings: ClusterSettings) -> None:
    asked: list[str] = []

    def answer(path: str, query: dict[str, str]) -> Answer:
        asked.append(path)
        return 200, json.dumps({"metadata": {}}).encode()

    with misbehaving(answer) as client:
        publisher = _backend(client, settings).publisher
        assert publisher is not None
        assert not publisher.is_published("PEM")

    (path,) = asked
    assert path.endswith("/mine")


@pytest.mark.parametrize("certificate", ["theirs", ""])
def test_replicas_with_provided_certificates_keep_each_others_cas(certificate: str) -> None:
    bundle = base64.b64encode(b"OTHER\nPEM\n").decode()
    webhooks = {"webhooks": [{"name": "a", "clientConfig": {"caBundle": bundle}}]}
    settings = _SETTINGS._replace(webhook_configuration="mine", certificate_secret=certificate)

    with misbehaving(lambda path, query: (200, json.dumps(webhooks).encode())) as client:
        publisher = _backend(client, settings).publisher
        assert publisher is not None
        assert publisher.is_published("PEM\n") is bool(certificate)


def test_an_installation_that_nobody_calls_publishes_nothing() -> None:
    with misbehaving(_nothing) as client:
        assert _backend(client, _SETTINGS).publisher is None


def test_the_installation_says_who_issues_certificates() -> None:
    with misbehaving(_nothing) as client:
        own = _backend(client, _SETTINGS).issuer(["livery.svc"])
        theirs = _backend(client, _SETTINGS._replace(certificate_secret="theirs")).issuer(
            ["livery.svc"]
        )

    assert isinstance(own, Rotation)
    assert isinstance(theirs, CarriedTrust)


def test_only_an_installation_with_a_lease_writes_the_status_of_objects() -> None:
    with misbehaving(_nothing) as client:
        without = _backend(client, _SETTINGS)
        with_lease = _backend(client, _SETTINGS._replace(lease="livery-status"))

    assert without.write_status is None
    assert with_lease.write_status is not None


async def test_a_change_of_the_ca_is_passed_on_in_the_loops_thread() -> None:
    changed = asyncio.Event()
    seen: list[dict[str, str]] = []

    def answer(path: str, query: dict[str, str]) -> Answer | Iterator[bytes]:
        seen.append(query)
        if "watch" in query:
            return iter([event("MODIFIED", "livery-ca", "2")])
        return listed("1")

    with misbehaving(answer) as client:
        backend = _backend(client, _SETTINGS)
        backend.on_store_change(changed.set)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            following = group.create_task(_run(backend.background_tasks[-1]))
            await changed.wait()
            following.cancel()

    assert {query["fieldSelector"] for query in seen} == {"metadata.name=livery-ca"}

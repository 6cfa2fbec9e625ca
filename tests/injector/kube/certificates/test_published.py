"""The CA kept in a Secret and published in a webhook's configuration of a real API server."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.rotation import Rotation
from webhook_certs.stores import Generation, Kept

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.kube.certificates.published import MANAGER, WebhookBundle
from injector.kube.certificates.secrets import SecretStore
from tests.cluster.fixtures import Namespace

_PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@pytest.fixture
def store(client: KubeClient, namespace: Namespace) -> SecretStore:
    return SecretStore(client, namespace.name, "livery-ca")


def test_replicas_that_start_at_once_agree_on_one_authority(
    client: KubeClient, namespace: Namespace
) -> None:
    def start(number: int) -> str:
        store = SecretStore(client, namespace.name, "livery-ca")
        return Rotation(store, ["livery"]).issue(datetime.now(UTC)).bundle_pem

    with ThreadPoolExecutor(8) as threads:
        bundles = set(threads.map(start, range(8)))

    assert len(bundles) == 1


def test_a_secret_of_the_chart_is_filled_and_keeps_its_labels(
    client: KubeClient, namespace: Namespace, store: SecretStore
) -> None:
    namespace.create("secrets", "livery-ca", metadata={"labels": {"helm": "yes"}})
    Rotation(store, ["livery"]).issue(datetime.now(UTC))

    secret = client.request("GET", f"{namespace.path}/secrets/livery-ca")
    assert secret["metadata"]["labels"] == {"helm": "yes"}
    assert len(store.load().generations) == 1


def test_a_change_over_an_older_version_is_refused(store: SecretStore) -> None:
    Rotation(store, ["livery"]).issue(datetime.now(UTC))
    kept = store.load()
    store.save(kept.generations, kept.version)
    changed = store.save((), store.load().version)

    with pytest.raises(ConflictError):
        store.save(kept.generations, kept.version)
    assert changed.version != kept.version


def test_an_empty_secret_holds_no_generation(namespace: Namespace, store: SecretStore) -> None:
    namespace.create("secrets", "livery-ca", data={"authorities.json": ""})

    assert store.load().generations == ()


@pytest.mark.parametrize("data", ["e30=", "/w==", "bm90IGpzb24="])
def test_a_broken_secret_is_a_clear_error(
    namespace: Namespace, store: SecretStore, data: str
) -> None:
    namespace.create("secrets", "livery-ca", data={"authorities.json": data})

    with pytest.raises(CertificateError, match=f"Secret {namespace.name}/livery-ca"):
        store.load()


@pytest.fixture
def configuration(client: KubeClient, namespace: Namespace) -> Iterator[str]:
    """A webhook configuration like the chart's, without a CA bundle."""
    common: dict[str, Any] = {
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
        "namespaceSelector": {"matchLabels": {"none": namespace.name}},
        "clientConfig": {"service": {"namespace": namespace.name, "name": "x", "path": "/mutate"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                   "resources": ["pods"]}],
    }  # fmt: skip
    webhooks = [{"name": f"{name}.livery.dev", **common} for name in ("inject", "prepare")]
    body = {"metadata": {"name": namespace.name}, "webhooks": webhooks}
    client.request("POST", _PATH, body=body, query={"fieldManager": "helm"})
    yield namespace.name
    client.request("DELETE", f"{_PATH}/{namespace.name}")


def test_the_bundle_is_published_and_nothing_else_is_touched(
    client: KubeClient, configuration: str
) -> None:
    before = client.request("GET", f"{_PATH}/{configuration}")
    bundle = WebhookBundle(client, configuration)
    assert not bundle.is_published("PEM")
    pem = Rotation(_Memory(), ["livery"]).issue(datetime.now(UTC)).bundle_pem
    bundle.publish(pem)
    bundle.publish(pem)

    assert bundle.is_published(pem)
    after = client.request("GET", f"{_PATH}/{configuration}")
    encoded = base64.b64encode(pem.encode()).decode()
    for old, new in zip(before["webhooks"], after["webhooks"], strict=True):
        assert new["clientConfig"].pop("caBundle") == encoded
        assert new == old
    managers = {item["manager"]: item for item in after["metadata"]["managedFields"]}
    assert managers[MANAGER]["operation"] == "Apply"


def test_a_configuration_that_is_not_there_is_an_error_and_not_made(client: KubeClient) -> None:
    with pytest.raises(KubeError) as caught:
        WebhookBundle(client, "nowhere").publish("PEM")
    assert caught.value.status == 404


class _Memory:
    """A store that keeps nothing."""

    def load(self) -> Kept:
        return Kept((), "")

    def save(self, generations: tuple[Generation, ...], version: str) -> Kept:
        return Kept(generations, "1")

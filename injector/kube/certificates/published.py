"""Publishes the CA where the webhook or the admission policy reads it."""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from webhook_certs.provided import CA_BUNDLE, CHAIN, KEY

from injector.control.backend import Publisher
from injector.kube.api.client import APPLY, JsonObject, KubeClient
from injector.kube.certificates.secrets import decode_text
from injector.model.cluster.names import CONTROL_ADDRESS, CONTROL_CA_BUNDLE

logger = logging.getLogger(__name__)

MANAGER = "livery-injector"
_FILES = (CHAIN, KEY, CA_BUNDLE)
_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class WebhookBundle:
    """The `caBundle` of a MutatingWebhookConfiguration's webhooks; the chart owns the rest."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self._client = client
        self._name = name
        self._path = f"{_CONFIGURATIONS}/{quote(name)}"

    def publish(self, bundle_pem: str) -> None:
        """Apply the bundle to every webhook, as the owner of that field only.

        Raises:
            KubeError: a request failed.
        """
        configuration = self._client.request("GET", self._path)
        if _has(configuration, bundle_pem):
            return
        encoded = base64.b64encode(bundle_pem.encode()).decode()
        names = [str(item.get("name")) for item in _webhooks(configuration)]
        applied: JsonObject = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [{"name": name, "clientConfig": {"caBundle": encoded}} for name in names],
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        self._client.request("PATCH", self._path, query=query, body=applied, content_type=APPLY)
        logger.info("the webhook's CA was published", extra={"configuration": self._name})

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether every webhook has exactly this bundle.

        Raises:
            KubeError: the request failed.
        """
        return _has(self._client.request("GET", self._path), bundle_pem)

    def contains(self, bundle_pem: str) -> bool:
        """Tell whether every webhook has these CAs; it may have others, too.

        Raises:
            KubeError: the request failed.
        """
        webhooks = _webhooks(self._client.request("GET", self._path))
        configs = [item.get("clientConfig") or {} for item in webhooks]
        return all(bundle_pem in decode_text(item.get("caBundle"), self._path) for item in configs)


class PublishedObject:
    """An object in which we own the CAs and some other values; the chart owns the rest.

    Args:
        client: the cluster.
        place: the object, and the key that holds the CAs.
        others: returns the values to write beside the CAs, by key.
    """

    def __init__(
        self,
        client: KubeClient,
        place: "Place",
        others: Callable[[], Mapping[str, str]] = lambda: {},
    ) -> None:
        self._client = client
        self._place = place
        self._others = others
        self._path = place.path

    def publish(self, bundle_pem: str) -> None:
        """Apply the values, as the owner of these fields only.

        Raises:
            KubeError: a request failed.
        """
        if self.is_published(bundle_pem):
            return
        place = self._place
        applied: JsonObject = {
            "apiVersion": "v1",
            "kind": place.kind,
            "metadata": {"name": place.name, "namespace": place.namespace},
        }
        parent = applied["metadata"] if place.is_annotation else applied
        parent["annotations" if place.is_annotation else "data"] = self._texts(bundle_pem)
        query = {"fieldManager": MANAGER, "force": "true"}
        self._client.request("PATCH", self._path, query=query, body=applied, content_type=APPLY)
        logger.info("the CA was published", extra={"kind": place.kind, "object": place.name})

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether the object has exactly these values.

        Raises:
            KubeError: the request failed.
        """
        return self._texts(bundle_pem).items() <= self._read().items()

    def contains(self, bundle_pem: str) -> bool:
        """Tell whether the object has these CAs; it may have others, too.

        Raises:
            KubeError: the request failed.
        """
        return bundle_pem in str(self._read().get(self._place.key, ""))

    def _texts(self, bundle_pem: str) -> dict[str, str]:
        return {self._place.key: bundle_pem, **self._others()}

    def _read(self) -> Mapping[str, Any]:
        found = self._client.request("GET", self._path)
        if self._place.is_annotation:
            found = found["metadata"]
        return found.get("annotations" if self._place.is_annotation else "data") or {}


class Place(NamedTuple):
    """One data value or annotation of an object."""

    kind: str
    namespace: str
    name: str
    key: str
    is_annotation: bool = False
    """Whether `key` is an annotation; otherwise it is in the object's data."""

    @property
    def path(self) -> str:
        """The object's API path."""
        return f"/api/v1/namespaces/{self.namespace}/{self.kind.lower()}s/{quote(self.name)}"


def policy_facts(
    client: KubeClient, namespace: str, name: str, address: Callable[[], str] | None = None
) -> PublishedObject:
    """Control service facts that the admission policy gives proxies: annotations of a Secret.

    Args:
        client: the cluster.
        namespace: the Secret's.
        name: the Secret's.
        address: returns the control service's ClusterIP; None if only the CAs are needed.
    """

    def others() -> Mapping[str, str]:
        return {} if address is None else {CONTROL_ADDRESS: address()}

    place = Place("Secret", namespace, name, CONTROL_CA_BUNDLE, is_annotation=True)
    return PublishedObject(client, place, others)


def ca_bundle_map(client: KubeClient, namespace: str, name: str) -> PublishedObject:
    """A ConfigMap with the CAs in `ca.crt`, for proxies that are not injected."""
    return PublishedObject(client, Place("ConfigMap", namespace, name, CA_BUNDLE))


class FanOutPublisher:
    """Publishes to several objects; published means present in all of them."""

    def __init__(self, publishers: Sequence[Publisher]) -> None:
        self._publishers = publishers

    def publish(self, bundle_pem: str) -> None:
        """Write the bundle to every object.

        Raises:
            KubeError: a request failed.
        """
        for publisher in self._publishers:
            publisher.publish(bundle_pem)

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether every object has the bundle.

        Raises:
            KubeError: a request failed.
        """
        return all(publisher.is_published(bundle_pem) for publisher in self._publishers)


class AdditivePublisher:
    """Publishes for replicas that may know different CAs.

    With an externally provided certificate each replica also publishes the previous CA, if it has
    seen one. Replicas must not take turns overwriting one another's bundles forever.
    """

    def __init__(self, publisher: WebhookBundle | PublishedObject) -> None:
        self._publisher = publisher
        self._has_written = False

    def publish(self, bundle_pem: str) -> None:
        """Write the bundle the first time, and later only if CAs of it are missing.

        Raises:
            KubeError: a request failed.
        """
        if not self._has_written or not self._publisher.contains(bundle_pem):
            self._publisher.publish(bundle_pem)
            self._has_written = True

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether the bundle is present; there may be other CAs, too.

        Raises:
            KubeError: the request failed.
        """
        return self._publisher.contains(bundle_pem)


def _webhooks(configuration: JsonObject) -> Sequence[JsonObject]:
    return [item for item in configuration.get("webhooks") or () if isinstance(item, dict)]


def _has(configuration: JsonObject, bundle_pem: str) -> bool:
    encoded = base64.b64encode(bundle_pem.encode()).decode()
    bundles = [
        (item.get("clientConfig") or {}).get("caBundle") for item in _webhooks(configuration)
    ]
    return bool(bundles) and all(bundle == encoded for bundle in bundles)

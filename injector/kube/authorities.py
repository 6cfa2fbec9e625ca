"""The CA in the cluster: kept in a Secret, published where the webhook or the policy reads it."""

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.provided import AUTHORITIES, CHAIN, KEY, read_provided
from webhook_certs.rotation import Material
from webhook_certs.stores import FILE_NAME, Generation, Kept, decode_generations, encode_generations

from injector.control.parts import Publisher
from injector.errors import KubeError
from injector.kube.client import APPLY, MERGE, KubeClient, Object
from injector.model.names import CONTROL_ADDRESS, CONTROL_AUTHORITIES

logger = logging.getLogger(__name__)

MANAGER = "livery-injector"
_FILES = (CHAIN, KEY, AUTHORITIES)
_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class SecretStore:
    """Generations in one Secret; a change takes place only over the version that was read."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._source = f"Secret {namespace}/{name}"

    def load(self) -> Kept:
        """Return what the Secret holds; one that is not there, or empty, holds none.

        Raises:
            CertificateError: it cannot be read, or is not what was written.
        """
        try:
            secret = self._client.request("GET", f"{self._path}/{self._name}")
        except KubeError as error:
            if error.status == 404:
                return Kept((), "")
            raise CertificateError(f"{self._source}: {error}") from error
        version = str(secret.get("metadata", {}).get("resourceVersion", ""))
        encoded = (secret.get("data") or {}).get(FILE_NAME)
        if not encoded:
            return Kept((), version)
        text = _decode(encoded, f"{self._source}: {FILE_NAME}")
        return Kept(decode_generations(text, self._source), version)

    def save(self, generations: tuple[Generation, ...], version: str) -> Kept:
        """Write the Secret; made if it is not there.

        Raises:
            ConflictError: it changed since it was loaded.
            CertificateError: it cannot be written.
        """
        text = encode_generations(generations)
        data = {FILE_NAME: base64.b64encode(text.encode()).decode()}
        metadata = {"name": self._name, "namespace": self._namespace}
        secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        try:
            if version:
                # A merge keeps what the chart wrote there, labels and annotations.
                change: Object = {"metadata": {"resourceVersion": version}, "data": data}
                path = f"{self._path}/{self._name}"
                written = self._client.request("PATCH", path, body=change, content_type=MERGE)
            else:
                written = self._client.request("POST", self._path, body=secret)
        except KubeError as error:
            if error.status == 409:
                raise ConflictError(f"{self._source} was changed by another replica") from error
            raise CertificateError(f"{self._source}: {error}") from error
        return Kept(generations, str(written["metadata"]["resourceVersion"]))


class ProvidedSecret:
    """A Secret of type kubernetes.io/tls whose certificate somebody else renews."""

    def __init__(self, client: KubeClient, namespace: str, name: str, server_name: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{quote(name)}"
        self._source = f"Secret {namespace}/{name}"
        self._server_name = server_name
        self._present = self._before = ""
        """The CAs that the Secret names, and those that it named before."""

    def issue(self, now: datetime) -> Material:
        """Return the certificate that the Secret holds now.

        A CA that was there before stays in the bundle: leaves that it signed are served until all
        replicas have the new one.

        Raises:
            CertificateError: it cannot be read, or cannot be served.
        """
        try:
            data = self._client.request("GET", self._path).get("data") or {}
        except KubeError as error:
            raise CertificateError(f"{self._source}: {error}") from error
        files = {key: _decode(data.get(key), f"{self._source}: {key}") for key in _FILES}
        material = read_provided(files, self._server_name, now, self._source)
        if material.bundle_pem != self._present:
            self._before, self._present = self._present, material.bundle_pem
        # The one before counts for a while: another replica may serve what it signed.
        others = self._before if self._before not in material.bundle_pem else ""
        return material._replace(bundle_pem=material.bundle_pem + others)


class WebhookBundle:
    """The `caBundle` of a MutatingWebhookConfiguration's webhooks; the rest is the chart's."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self._client = client
        self._name = name
        self._path = f"{_CONFIGURATIONS}/{quote(name)}"

    def publish(self, bundle_pem: str) -> None:
        """Apply the bundle to every webhook there, as the owner of that field alone.

        Raises:
            KubeError: the API server refused.
        """
        configuration = self._client.request("GET", self._path)
        if _has(configuration, bundle_pem):
            return
        encoded = base64.b64encode(bundle_pem.encode()).decode()
        names = [str(item.get("name")) for item in _webhooks(configuration)]
        applied: Object = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [{"name": name, "clientConfig": {"caBundle": encoded}} for name in names],
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        self._client.request("PATCH", self._path, query=query, body=applied, content_type=APPLY)
        logger.info("the webhook's CA was published", extra={"configuration": self._name})

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether every webhook there has exactly this bundle.

        Raises:
            KubeError: the API server did not say.
        """
        return _has(self._client.request("GET", self._path), bundle_pem)

    def has_authorities(self, bundle_pem: str) -> bool:
        """Tell whether every webhook there has these CAs, beside others perhaps.

        Raises:
            KubeError: the API server did not say.
        """
        webhooks = _webhooks(self._client.request("GET", self._path))
        configs = [item.get("clientConfig") or {} for item in webhooks]
        return all(bundle_pem in _decode(item.get("caBundle"), self._path) for item in configs)


class PublishedObject:
    """An object some of whose texts hold the CAs, and are ours: the rest is the chart's.

    Args:
        client: the cluster.
        place: where it is, and where its texts stand.
        others: what stands there beside the CAs.
    """

    def __init__(
        self, client: KubeClient, place: "Place", others: Mapping[str, str] | None = None
    ) -> None:
        self._client = client
        self._place = place
        self._others = dict(others or {})
        self._path = place.path

    def publish(self, bundle_pem: str) -> None:
        """Apply the texts, as the owner of these alone.

        Raises:
            KubeError: the API server refused.
        """
        if self.is_published(bundle_pem):
            return
        place = self._place
        applied: Object = {
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
        """Tell whether it says exactly this.

        Raises:
            KubeError: the API server did not say.
        """
        return self._texts(bundle_pem).items() <= self._read().items()

    def has_authorities(self, bundle_pem: str) -> bool:
        """Tell whether it names these CAs, beside others perhaps.

        Raises:
            KubeError: the API server did not say.
        """
        return bundle_pem in str(self._read().get(self._place.key, ""))

    def _texts(self, bundle_pem: str) -> dict[str, str]:
        return {self._place.key: bundle_pem, **self._others}

    def _read(self) -> Mapping[str, Any]:
        found = self._client.request("GET", self._path)
        if self._place.is_annotation:
            found = found["metadata"]
        return found.get("annotations" if self._place.is_annotation else "data") or {}


class Place(NamedTuple):
    """Which text of which object."""

    kind: str
    namespace: str
    name: str
    key: str
    is_annotation: bool = False
    """Else it is of the object's data."""

    @property
    def path(self) -> str:
        """The object's."""
        return f"/api/v1/namespaces/{self.namespace}/{self.kind.lower()}s/{quote(self.name)}"


def policy_facts(
    client: KubeClient, namespace: str, name: str, address: str | None = None
) -> PublishedObject:
    """What a policy tells proxies of the control service: annotations of a Secret.

    Args:
        client: the cluster.
        namespace: the Secret's.
        name: the Secret's.
        address: the control service's ClusterIP; None where only the CAs are asked for.
    """
    others = {} if address is None else {CONTROL_ADDRESS: address}
    place = Place("Secret", namespace, name, CONTROL_AUTHORITIES, is_annotation=True)
    return PublishedObject(client, place, others)


def authorities_map(client: KubeClient, namespace: str, name: str) -> PublishedObject:
    """A ConfigMap with the CAs, for proxies that are not injected: `ca.crt`."""
    return PublishedObject(client, Place("ConfigMap", namespace, name, AUTHORITIES))


class Everywhere:
    """Publishes in several places; published is what is in all."""

    def __init__(self, publishers: Sequence[Publisher]) -> None:
        self._publishers = publishers

    def publish(self, bundle_pem: str) -> None:
        """Write the bundle in each.

        Raises:
            KubeError: the API server refused.
        """
        for publisher in self._publishers:
            publisher.publish(bundle_pem)

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether each has it.

        Raises:
            KubeError: the API server did not say.
        """
        return all(publisher.is_published(bundle_pem) for publisher in self._publishers)


class BesideOthers:
    """Publishes for replicas that need not know the same CAs.

    Where somebody else provides the certificate each replica adds the CA that was there before, as
    far as it saw it: what one publishes must not take the other's away, for ever in turns.
    """

    def __init__(self, publisher: WebhookBundle | PublishedObject) -> None:
        self._publisher = publisher
        self._has_written = False

    def publish(self, bundle_pem: str) -> None:
        """Write exactly the bundle the first time, later only what is missing.

        Raises:
            KubeError: the API server refused.
        """
        if not self._has_written or not self._publisher.has_authorities(bundle_pem):
            self._publisher.publish(bundle_pem)
            self._has_written = True

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether the bundle is there, beside others perhaps.

        Raises:
            KubeError: the API server did not say.
        """
        return self._publisher.has_authorities(bundle_pem)


def _decode(encoded: object, source: str) -> str:
    """Read a value of a Secret; an absent one is empty."""
    if encoded is not None and not isinstance(encoded, str):
        raise CertificateError(f"{source} is not text")
    try:
        return base64.b64decode(encoded or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise CertificateError(f"{source} is not text: {error}") from error


def _webhooks(configuration: Object) -> Sequence[Object]:
    return [item for item in configuration.get("webhooks") or () if isinstance(item, dict)]


def _has(configuration: Object, bundle_pem: str) -> bool:
    encoded = base64.b64encode(bundle_pem.encode()).decode()
    bundles = [
        (item.get("clientConfig") or {}).get("caBundle") for item in _webhooks(configuration)
    ]
    return bool(bundles) and all(bundle == encoded for bundle in bundles)

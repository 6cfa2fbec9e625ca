"""The CA in the cluster: kept in a Secret, published where the webhook or the policy reads it."""

import base64
import binascii
import logging
from collections.abc import Sequence
from datetime import datetime
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


class PolicyFacts:
    """What a policy tells proxies of the control service: annotations of a Secret."""

    def __init__(self, client: KubeClient, namespace: str, name: str, address: str) -> None:
        self._client = client
        self._metadata = {"name": name, "namespace": namespace}
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{quote(name)}"
        self._address = address

    def publish(self, bundle_pem: str) -> None:
        """Annotate the Secret, as the owner of these annotations alone.

        Raises:
            KubeError: the API server refused.
        """
        if self.is_published(bundle_pem):
            return
        applied: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**self._metadata, "annotations": self._facts(bundle_pem)},
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        self._client.request("PATCH", self._path, query=query, body=applied, content_type=APPLY)
        logger.info("the policy's CA was published", extra={"secret": self._metadata["name"]})

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether the Secret says exactly this.

        Raises:
            KubeError: the API server did not say.
        """
        metadata = self._client.request("GET", self._path)["metadata"]
        return self._facts(bundle_pem).items() <= (metadata.get("annotations") or {}).items()

    def has_authorities(self, bundle_pem: str) -> bool:
        """Tell whether the Secret names these CAs, beside others perhaps.

        Raises:
            KubeError: the API server did not say.
        """
        metadata = self._client.request("GET", self._path)["metadata"]
        return bundle_pem in str((metadata.get("annotations") or {}).get(CONTROL_AUTHORITIES, ""))

    def _facts(self, bundle_pem: str) -> dict[str, str]:
        return {CONTROL_AUTHORITIES: bundle_pem, CONTROL_ADDRESS: self._address}


class AuthoritiesMap:
    """A ConfigMap with the CAs, for proxies that are not injected: `ca.crt`."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._metadata = {"name": name, "namespace": namespace}
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{quote(name)}"

    def publish(self, bundle_pem: str) -> None:
        """Write the CAs, as the owner of that key alone.

        Raises:
            KubeError: the API server refused.
        """
        if self.is_published(bundle_pem):
            return
        applied: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self._metadata,
            "data": {AUTHORITIES: bundle_pem},
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        self._client.request("PATCH", self._path, query=query, body=applied, content_type=APPLY)

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether it says exactly this.

        Raises:
            KubeError: the API server did not say.
        """
        data = self._client.request("GET", self._path).get("data") or {}
        return bool(data.get(AUTHORITIES) == bundle_pem)

    def has_authorities(self, bundle_pem: str) -> bool:
        """Tell whether it names these CAs, beside others perhaps.

        Raises:
            KubeError: the API server did not say.
        """
        data = self._client.request("GET", self._path).get("data") or {}
        return bundle_pem in str(data.get(AUTHORITIES, ""))


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

    def __init__(self, publisher: WebhookBundle | PolicyFacts | AuthoritiesMap) -> None:
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
    try:
        return base64.b64decode(encoded or "", validate=True).decode()  # type: ignore[arg-type]
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise CertificateError(f"{source} is not text: {error}") from error


def _webhooks(configuration: Object) -> Sequence[Object]:
    return [item for item in configuration.get("webhooks") or () if isinstance(item, dict)]


def _has(configuration: Object, bundle_pem: str) -> bool:
    encoded = base64.b64encode(bundle_pem.encode()).decode()
    bundles = [
        (item.get("clientConfig") or {}).get("caBundle") for item in _webhooks(configuration)
    ]
    return bool(bundles) and all(bundle == encoded for bundle in bundles)

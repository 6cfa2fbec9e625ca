"""The CA in the cluster: kept in a Secret, published in the webhook's configuration."""

import base64
import binascii
import logging
from collections.abc import Sequence
from urllib.parse import quote

from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.stores import FILE_NAME, Generation, Kept, decode_generations, encode_generations

from injector.errors import KubeError
from injector.kube.client import APPLY, MERGE, KubeClient, Object

logger = logging.getLogger(__name__)

MANAGER = "livery-injector"
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
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, TypeError) as error:
            raise CertificateError(f"{self._source}: {FILE_NAME} is not text: {error}") from error
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


def _webhooks(configuration: Object) -> Sequence[Object]:
    return [item for item in configuration.get("webhooks") or () if isinstance(item, dict)]


def _has(configuration: Object, bundle_pem: str) -> bool:
    encoded = base64.b64encode(bundle_pem.encode()).decode()
    bundles = [
        (item.get("clientConfig") or {}).get("caBundle") for item in _webhooks(configuration)
    ]
    return bool(bundles) and all(bundle == encoded for bundle in bundles)

"""Secrets of certificates: the injector's own CA, or a certificate that others renew."""

import base64
import binascii
from datetime import datetime
from urllib.parse import quote

from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.provided import CA_BUNDLE, CHAIN, KEY, read_provided
from webhook_certs.rotation import Material
from webhook_certs.stores import FILE_NAME, Generation, Kept, decode_generations, encode_generations

from injector.errors import KubeError
from injector.kube.api.client import MERGE, JsonObject, KubeClient

_FILES = (CHAIN, KEY, CA_BUNDLE)


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
        text = decode_text(encoded, f"{self._source}: {FILE_NAME}")
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
        secret: JsonObject = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "data": data,
        }
        try:
            if version:
                # A merge keeps what the chart wrote there, labels and annotations.
                change: JsonObject = {"metadata": {"resourceVersion": version}, "data": data}
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
        files = {key: decode_text(data.get(key), f"{self._source}: {key}") for key in _FILES}
        material = read_provided(files, self._server_name, now, self._source)
        if material.bundle_pem != self._present:
            self._before, self._present = self._present, material.bundle_pem
        # The one before counts for a while: another replica may serve what it signed.
        others = self._before if self._before not in material.bundle_pem else ""
        return material._replace(bundle_pem=material.bundle_pem + others)


def decode_text(encoded: object, source: str) -> str:
    """Read a value of a Secret; an absent one is empty."""
    if encoded is not None and not isinstance(encoded, str):
        raise CertificateError(f"{source} is not text")
    try:
        return base64.b64decode(encoded or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise CertificateError(f"{source} is not text: {error}") from error

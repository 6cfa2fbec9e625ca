"""Certificates in Secrets: the injector's own CA, or an externally renewed certificate."""

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
    """CA generations in one Secret; a write fails if the Secret has changed since it was read."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._source = f"Secret {namespace}/{name}"

    def load(self) -> Kept:
        """Return the stored generations; none if the Secret is missing or empty.

        Raises:
            CertificateError: the Secret cannot be read, or its content is invalid.
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
        """Write the Secret; creates it if it is missing.

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
                # A merge patch keeps the labels and annotations that the chart wrote.
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
    """A Secret of type kubernetes.io/tls whose certificate is renewed externally."""

    def __init__(self, client: KubeClient, namespace: str, name: str, server_name: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{quote(name)}"
        self._source = f"Secret {namespace}/{name}"
        self._server_name = server_name
        self._present = self._before = ""
        """The Secret's current CAs, and its previous ones."""

    def issue(self, now: datetime) -> Material:
        """Return the certificate that the Secret holds now.

        The previous CA stays in the bundle: leaf certificates that it signed are served until all
        replicas have the new one.

        Raises:
            CertificateError: the Secret cannot be read, or its certificate cannot be served.
        """
        try:
            data = self._client.request("GET", self._path).get("data") or {}
        except KubeError as error:
            raise CertificateError(f"{self._source}: {error}") from error
        files = {key: decode_text(data.get(key), f"{self._source}: {key}") for key in _FILES}
        material = read_provided(files, self._server_name, now, self._source)
        if material.bundle_pem != self._present:
            self._before, self._present = self._present, material.bundle_pem
        # The previous CA stays valid: another replica may still serve what it signed.
        others = self._before if self._before not in material.bundle_pem else ""
        return material._replace(bundle_pem=material.bundle_pem + others)


def decode_text(encoded: object, source: str) -> str:
    """Decode a value of a Secret; a missing one is empty."""
    if encoded is not None and not isinstance(encoded, str):
        raise CertificateError(f"{source} is not text")
    try:
        return base64.b64decode(encoded or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise CertificateError(f"{source} is not text: {error}") from error

"""Decides whether an object may use credentials from a Secret of its namespace."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from injector.model.access.reasons import ReadyReason
from injector.model.access.receivers import SecretKey
from injector.model.cluster.names import REMOTE_WRITE_HOSTS
from injector.model.cluster.objects import Object, annotations_of, get_mapping, metadata_of
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform

MAX_BYTES = 128 << 10
"""Size limit of one value."""


class Secrets(NamedTuple):
    """The credentials from an object's Secrets, or why they are not used."""

    credentials: Mapping[str, Mapping[str, Any]]
    """In the format of a policy."""
    reason: ReadyReason | None = None
    """Why they are not used; None if they are."""
    message: str = ""


def read_secrets(
    cluster: ClusterState,
    namespace: str,
    keys: Iterable[SecretKey],
    *,
    origin: str,
    platform: Platform,
) -> Secrets:
    """Return the credentials from Secrets, if the platform and the Secrets' owners allow it.

    Args:
        cluster: the cluster's state.
        namespace: the object's namespace.
        keys: the required keys.
        origin: where the credentials are sent, as in `Receivers.origin`.
        platform: the platform's settings, with its grants.
    """
    found: dict[str, Mapping[str, Any]] = {}
    settings = platform.remote_write
    for key in keys:
        if not settings.reads_secrets_of(namespace):
            message = (
                f"Secret {key.name} is not read: ask the platform to add {namespace} to "
                "remoteWrite.secretNamespaces"
            )
            return Secrets({}, ReadyReason.SECRETS_NOT_GRANTED, message)
        secret = cluster.secret(namespace, key.name)
        if secret is None:
            message = f"Secret {key.name} does not exist or cannot be read"
            return Secrets({}, ReadyReason.SECRET_NOT_FOUND, message)
        if settings.requires_secret_consent and origin not in _origins(secret):
            message = (
                f"Secret {key.name} does not allow sending to {origin}: annotate it with "
                f"{REMOTE_WRITE_HOSTS}={origin}"
            )
            return Secrets({}, ReadyReason.SECRET_NOT_CONSENTED, message)
        value = _value(secret, key.key)
        if value is None:
            message = f"Secret {key.name} has no text value for key {key.key}"
            return Secrets({}, ReadyReason.SECRET_NOT_FOUND, message)
        found[str(key)] = {"value": value, "revision": _revision(secret)}
    return Secrets(found)


def _origins(secret: Object) -> list[str]:
    listed = annotations_of(secret).get(REMOTE_WRITE_HOSTS, "")
    return [name.strip().lower() for name in listed.split(",")]


def _value(secret: Object, key: str) -> str | None:
    plain = get_mapping(secret, "stringData").get(key)  # in a manifest
    if isinstance(plain, str) and len(plain) <= MAX_BYTES:
        return plain
    encoded = get_mapping(secret, "data").get(key)
    if not isinstance(encoded, str) or len(encoded) > 2 * MAX_BYTES:
        return None
    try:
        value = base64.b64decode(encoded, validate=True)
        return value.decode() if len(value) <= MAX_BYTES else None
    except (ValueError, binascii.Error):
        return None


def _revision(secret: Object) -> str:
    metadata = metadata_of(secret)
    return f"{metadata.get('uid', '')}/{metadata.get('resourceVersion', '')}"

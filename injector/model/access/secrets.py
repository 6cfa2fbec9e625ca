"""Whether an object may send with what a Secret of its namespace holds."""

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
"""Of one value."""


class Secrets(NamedTuple):
    """What an object's Secrets hold; or why they are not used."""

    credentials: Mapping[str, Mapping[str, Any]]
    """As a policy has them."""
    reason: ReadyReason | None = None
    """Why they are not used; None where they are."""
    message: str = ""


def read_secrets(
    cluster: ClusterState,
    namespace: str,
    keys: Iterable[SecretKey],
    *,
    origin: str,
    platform: Platform,
) -> Secrets:
    """Return what Secrets hold, if the platform and their owners let it be sent to a host.

    Args:
        cluster: what is known of the cluster.
        namespace: of the object.
        keys: that are needed.
        origin: to which they go, as `Receivers` has it.
        platform: the platform's settings, which grant.
    """
    found: dict[str, Mapping[str, Any]] = {}
    settings = platform.remote_write
    for key in keys:
        if not settings.reads_secrets_of(namespace):
            message = (
                f"the Secret {key.name} is not read: the platform has to add {namespace} to "
                "remoteWrite.secretNamespaces"
            )
            return Secrets({}, ReadyReason.SECRETS_NOT_GRANTED, message)
        secret = cluster.secret(namespace, key.name)
        if secret is None:
            message = f"there is no Secret {key.name} yet, or it could not be read"
            return Secrets({}, ReadyReason.SECRET_NOT_FOUND, message)
        if settings.requires_secret_consent and origin not in _origins(secret):
            message = (
                f"the Secret {key.name} does not say that it may be sent to {origin}: annotate it "
                f"{REMOTE_WRITE_HOSTS}={origin}"
            )
            return Secrets({}, ReadyReason.SECRET_NOT_CONSENTED, message)
        value = _value(secret, key.key)
        if value is None:
            message = f"the Secret {key.name} has no key {key.key} with a text"
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

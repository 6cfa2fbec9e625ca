import base64
from typing import Any

import pytest

from injector.model.access.reasons import ReadyReason
from injector.model.access.receivers import SecretKey
from injector.model.access.secrets import Secrets, read_secrets
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform, RemoteWriteSettings

_KEY = SecretKey("receiver", "password")
_GRANTED = RemoteWriteSettings(secret_namespaces=("shop",))
_HOSTS = "livery.dev/remote-write-hosts"


def _secret(hosts: str | None = "metrics.example.com", **fields: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": "receiver", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
    }  # fmt: skip
    if hosts is not None:
        metadata["annotations"] = {_HOSTS: hosts}
    data = {"password": base64.b64encode(b"geheim").decode()}
    return {"metadata": metadata, "data": data, **fields}


def _read(
    secret: dict[str, Any] | None, settings: RemoteWriteSettings = _GRANTED, key: SecretKey = _KEY
) -> Secrets:
    cluster = ClusterState()
    if secret is not None:
        cluster.put("Secret", secret)
    platform = Platform(remote_write=settings)
    return read_secrets(cluster, "shop", [key], origin="metrics.example.com", platform=platform)


@pytest.mark.parametrize(
    "hosts", ["metrics.example.com", "a.example.com, METRICS.example.com ,b.example.com"]
)
def test_a_secret_that_names_the_host_is_used(hosts: str) -> None:
    found = _read(_secret(hosts))

    assert found.reason is None
    assert found.credentials == {"receiver/password": {"value": "geheim", "revision": "u1/7"}}


@pytest.mark.parametrize(
    "hosts",
    [
        None,
        "",
        "example.com",
        "other.example.com",
        "*",
        "metrics.example.com:8443",
        "http://metrics.example.com",
    ],
)
def test_a_secret_that_does_not_is_not(hosts: str | None) -> None:
    found = _read(_secret(hosts))

    assert (found.reason, found.credentials) == (ReadyReason.SECRET_NOT_CONSENTED, {})
    assert "annotate it with livery.dev/remote-write-hosts=metrics.example.com" in found.message


def test_without_that_rule_any_secret_is_used() -> None:
    settings = _GRANTED.__class__(secret_namespaces=("shop",), requires_secret_consent=False)

    assert _read(_secret(None), settings).reason is None


def test_secrets_of_a_namespace_that_the_platform_did_not_name_are_not_used() -> None:
    found = _read(_secret(), RemoteWriteSettings(secret_namespaces=("bank",)))

    assert found.reason is ReadyReason.SECRETS_NOT_GRANTED
    assert "add shop to remoteWrite.secretNamespaces" in found.message


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (None, "Secret receiver does not exist"),
        (_secret(data={}), "has no text value for key password"),
        (_secret(data={"password": "%%%"}), "has no text value for key password"),
        (_secret(data={"password": "//8="}), "has no text value for key password"),
        (_secret(data={"password": "A" * 500_000}), "has no text value for key password"),
    ],
)
def test_what_is_not_there_is_said(secret: dict[str, Any] | None, message: str) -> None:
    found = _read(secret)

    assert found.reason is ReadyReason.SECRET_NOT_FOUND
    assert message in found.message
    assert "geheim" not in found.message


def test_a_manifest_s_plain_texts_are_read() -> None:
    found = _read(_secret(stringData={"password": "plain"}))

    assert found.credentials["receiver/password"]["value"] == "plain"

"""Certificates in Secrets of a real API server: our own CA, and what others provide."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from webhook_certs.authority import Authority, create_authority, issue_leaf
from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.stores import Generation

from injector.kube.api.client import MERGE, KubeClient
from injector.kube.certificates.secrets import ProvidedSecret, SecretStore, decode_text
from tests.cluster.fixtures import Namespace

NAME = "livery-injector.livery-system.svc"
NOW = datetime.now(UTC)


@pytest.fixture
def store(client: KubeClient, namespace: Namespace) -> SecretStore:
    return SecretStore(client, namespace.name, "livery-ca")


@pytest.fixture
def provided(client: KubeClient, namespace: Namespace) -> ProvidedSecret:
    return ProvidedSecret(client, namespace.name, "theirs", NAME)


def _files(authority: Authority) -> dict[str, str]:
    leaf = issue_leaf(authority, [NAME], NOW)
    files = {"tls.crt": leaf.chain_pem, "tls.key": leaf.key_pem}
    files["ca.crt"] = authority.certificate_pem
    return {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}


def _provide(namespace: Namespace, authority: Authority) -> None:
    body: dict[str, Any] = {"data": _files(authority)}
    path = f"{namespace.path}/secrets/theirs"
    namespace.client.request("PATCH", path, body=body, content_type=MERGE)


def test_what_is_kept_comes_back_equal(store: SecretStore) -> None:
    assert store.load() == ((), "")
    generations = (Generation(create_authority("a", NOW), "crossed"),)
    kept = store.save(generations, "")

    assert kept.generations == generations
    assert store.load() == kept


def test_of_two_that_make_the_secret_at_once_one_has_a_conflict(store: SecretStore) -> None:
    store.save((), "")
    with pytest.raises(ConflictError, match="another replica"):
        store.save((), "")


def test_a_secret_that_went_away_is_not_written_over(
    store: SecretStore, namespace: Namespace
) -> None:
    kept = store.save((), "")
    namespace.client.request("DELETE", f"{namespace.path}/secrets/livery-ca")
    with pytest.raises(CertificateError, match=f"Secret {namespace.name}/livery-ca"):
        store.save((), kept.version)


def test_a_provided_certificate_is_served_as_it_is(
    namespace: Namespace, provided: ProvidedSecret
) -> None:
    authority = create_authority("theirs", NOW)
    namespace.create("secrets", "theirs", data=_files(authority), type="kubernetes.io/tls")

    assert provided.issue(NOW).bundle_pem == authority.certificate_pem


def test_a_ca_that_was_replaced_is_trusted_until_the_next(
    namespace: Namespace, provided: ProvidedSecret
) -> None:
    first, second, third = (create_authority(name, NOW) for name in "abc")
    namespace.create("secrets", "theirs", data=_files(first))
    provided.issue(NOW)
    _provide(namespace, second)
    changed = provided.issue(NOW)

    assert changed.bundle_pem == second.certificate_pem + first.certificate_pem
    assert provided.issue(NOW).bundle_pem == changed.bundle_pem
    _provide(namespace, third)
    assert provided.issue(NOW).bundle_pem == third.certificate_pem + second.certificate_pem


def test_a_provided_secret_that_is_not_there_or_not_whole_is_named(
    namespace: Namespace, provided: ProvidedSecret
) -> None:
    with pytest.raises(CertificateError, match=rf"^Secret {namespace.name}/theirs: .*not found"):
        provided.issue(NOW)
    namespace.create("secrets", "theirs", data={"tls.crt": "/w=="})
    with pytest.raises(
        CertificateError, match=rf"^Secret {namespace.name}/theirs: tls\.crt is not"
    ):
        provided.issue(NOW)


@pytest.mark.parametrize("encoded", ["/w==", "a", "\u00e9", 5, ["aGk="]], ids=repr)
def test_a_value_that_is_no_text_is_refused_by_name(encoded: object) -> None:
    with pytest.raises(CertificateError, match=r"^there is not text"):
        decode_text(encoded, "there")


def test_an_absent_value_is_empty() -> None:
    assert [decode_text(item, "there") for item in (None, "", "w6k=")] == ["", "", "\u00e9"]

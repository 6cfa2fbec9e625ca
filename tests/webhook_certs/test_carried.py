"""Trust across a change of issuer: old pods verify the new server, in both directions."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from webhook_certs.authority import create_authority
from webhook_certs.carried import CarriedTrust
from webhook_certs.errors import CertificateError
from webhook_certs.provided import read_provided
from webhook_certs.rotation import Material, Rotation
from webhook_certs.stores import FolderStore, Generation, Kept
from webhook_certs.tls import create_server_context

from tests.webhook_certs.test_provided import provided
from tests.webhook_certs.test_rotation import NAME, handshake

NOW = datetime.now(UTC)
_THEIRS = create_authority("theirs", NOW)


class _Provided:
    def __init__(self) -> None:
        self.fails = False

    def issue(self, now: datetime) -> Material:
        if self.fails:
            raise CertificateError("nothing is provided")
        return read_provided(provided(NAME, authority=_THEIRS, now=NOW), NAME, now, "here")


class _Broken:
    """A store that can be neither read nor written."""

    def load(self) -> Kept:
        raise CertificateError("forbidden")

    def save(self, generations: tuple[Generation, ...], version: str) -> Kept:
        raise CertificateError("forbidden")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "certs")


def test_pods_that_know_only_the_own_ca_verify_what_another_provides(store: FolderStore) -> None:
    own = Rotation(store, [NAME]).issue(NOW).bundle_pem
    server = create_server_context(CarriedTrust(_Provided(), store, [NAME]).issue(NOW).leaf)

    handshake(server, own)
    handshake(server, _THEIRS.certificate_pem)


def test_pods_of_two_own_cas_ago_do_so_too(store: FolderStore) -> None:
    rotation = Rotation(store, [NAME])
    oldest = rotation.issue(NOW).bundle_pem
    rotation.renew_authority(NOW)
    server = create_server_context(CarriedTrust(_Provided(), store, [NAME]).issue(NOW).leaf)

    handshake(server, oldest)


def test_pods_that_were_made_meanwhile_verify_the_own_ca_afterwards(store: FolderStore) -> None:
    meanwhile = CarriedTrust(_Provided(), store, [NAME]).issue(NOW).bundle_pem
    server = create_server_context(Rotation(store, [NAME]).issue(NOW).leaf)

    handshake(server, meanwhile)


def test_the_same_is_served_until_something_changes(store: FolderStore) -> None:
    issuer = CarriedTrust(_Provided(), store, [NAME])

    assert issuer.issue(NOW).leaf.chain_pem.count("BEGIN") == 2
    bridges = {issuer.issue(NOW).leaf.chain_pem.partition("-----END")[2] for _ in range(3)}
    assert len(bridges) == 1


def test_an_own_ca_that_cannot_be_kept_costs_only_itself() -> None:
    material = CarriedTrust(_Provided(), _Broken(), [NAME]).issue(NOW)

    assert material.bundle_pem == _THEIRS.certificate_pem


def test_without_a_provided_certificate_there_is_none(store: FolderStore) -> None:
    provided_by = _Provided()
    provided_by.fails = True
    with pytest.raises(CertificateError, match="nothing is provided"):
        CarriedTrust(provided_by, store, [NAME]).issue(NOW)

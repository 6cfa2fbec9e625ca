import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from webhook_certs.authority import Authority, Leaf, issue_leaf

from sidecar.errors import SettingsError
from sidecar.http import tls
from sidecar.http.tls import CaFile, ServedCertificate, trusting_context, unverified_context
from tests.sidecar.apps import until
from tests.sidecar.certificates import authority, self_signed, server_tls

pytestmark = pytest.mark.anyio

_OLD, _NEW = authority("Old CA"), authority("New CA")
_SECONDS = count(1_700_000_000)


def _write(path: Path, text: str) -> None:
    """Write a file with a new modification time on every call, however coarse the clock."""
    path.write_text(text)
    moment = next(_SECONDS)
    os.utime(path, (moment, moment))


def _leaf(signer: Authority) -> Leaf:
    return issue_leaf(signer, ["kubelet"], datetime.now(UTC))


def _is_trusted(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "kubelet") -> bool:
    """Do a handshake in memory; return whether the client trusts the server's certificate."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    for side in sides * 4:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_an_unverified_context_takes_any_certificate() -> None:
    assert _is_trusted(unverified_context(), self_signed("another name"))


def test_only_the_given_cas_are_trusted_and_only_for_their_names() -> None:
    client = trusting_context(_OLD.certificate_pem)

    assert _is_trusted(client, server_tls(_OLD, "kubelet"))
    assert not _is_trusted(client, server_tls(_OLD, "another"))
    assert not _is_trusted(client, server_tls(_NEW, "kubelet"))


def test_of_several_cas_each_is_trusted() -> None:
    client = trusting_context(_OLD.certificate_pem + _NEW.certificate_pem)

    assert _is_trusted(client, server_tls(_OLD, "kubelet"))
    assert _is_trusted(client, server_tls(_NEW, "kubelet"))


@pytest.mark.parametrize("pem", ["", "hello", "-----BEGIN CERTIFICATE-----\n"])
def test_a_text_without_a_certificate_is_refused(pem: str) -> None:
    with pytest.raises((ssl.SSLError, ValueError)):
        trusting_context(pem)


def test_a_ca_file_is_read_again_when_it_changes_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    _write(path, _OLD.certificate_pem)
    file = CaFile(path)
    first = file.context()
    assert file.context() is first
    _write(path, _NEW.certificate_pem)

    assert _is_trusted(file.context(), server_tls(_NEW, "kubelet"))
    assert not _is_trusted(file.context(), server_tls(_OLD, "kubelet"))


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: _write(path, ""), lambda path: _write(path, "hello")]
)
def test_the_last_good_cas_stay_while_their_file_is_bad(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "ca.crt"
    _write(path, _OLD.certificate_pem)
    file = CaFile(path)
    good = file.context()
    spoil(path)

    assert file.context() is good
    _write(path, _NEW.certificate_pem)
    assert _is_trusted(file.context(), server_tls(_NEW, "kubelet"))


def test_a_ca_file_that_was_never_good_is_an_error_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    file = CaFile(path)
    with pytest.raises(FileNotFoundError):
        file.context()
    _write(path, "hello")
    with pytest.raises(ssl.SSLError):
        file.context()
    _write(path, _OLD.certificate_pem)

    assert _is_trusted(file.context(), server_tls(_OLD, "kubelet"))


class _Files:
    """A certificate and its key as a Secret mounts them."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.write(_OLD)

    def write(self, signer: Authority) -> None:
        leaf = _leaf(signer)
        _write(self.key, leaf.key_pem)
        _write(self.certificate, leaf.chain_pem)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[ssl.SSLContext]:
        served = ServedCertificate(self.certificate, self.key)
        task = asyncio.create_task(served.follow())
        yield served.tls
        assert not task.done()
        task.cancel()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Files:
    monkeypatch.setattr(tls, "CERTIFICATE_POLL_SECONDS", 0.01)
    return _Files(tmp_path)


async def test_a_renewed_certificate_is_served_from_the_next_handshake_on(files: _Files) -> None:
    client = trusting_context(_NEW.certificate_pem)
    async with files.served() as server:
        assert not _is_trusted(client, server)
        files.write(_NEW)
        await until(lambda: _is_trusted(client, server))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda files: files.certificate.unlink(), id="no certificate"),
        pytest.param(lambda files: files.key.unlink(), id="no key"),
        pytest.param(lambda files: _write(files.key, _leaf(_NEW).key_pem), id="only the new key"),
        pytest.param(
            lambda files: _write(files.certificate, _leaf(_NEW).chain_pem),
            id="only the new certificate",
        ),
        pytest.param(lambda files: _write(files.certificate, "hello"), id="no PEM"),
    ],
)
async def test_the_old_pair_is_served_until_the_new_one_is_whole(
    files: _Files, spoil: Callable[[_Files], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with files.served() as server:
        spoil(files)
        await until(lambda: "the new certificate cannot be used" in caplog.text)
        assert _is_trusted(trusting_context(_OLD.certificate_pem), server)

        files.write(_NEW)
        await until(lambda: _is_trusted(trusting_context(_NEW.certificate_pem), server))


def test_a_pair_that_cannot_be_served_is_refused_at_the_start(tmp_path: Path) -> None:
    files = _Files(tmp_path)
    files.key.write_text(_leaf(_OLD).key_pem)

    with pytest.raises(
        SettingsError, match=f"--tls-cert-file, --tls-key-file: {files.certificate} .*MISMATCH"
    ):
        ServedCertificate(files.certificate, files.key)
    files.key.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        ServedCertificate(files.certificate, files.key)


async def test_a_renewed_certificate_may_have_another_kind_of_key(files: _Files) -> None:
    async with files.served() as served:
        assert _is_trusted(trusting_context(_OLD.certificate_pem), served)
        certificate, key = _rsa("kubelet")
        _write(files.key, key)
        _write(files.certificate, certificate)

        await until(lambda: _is_trusted(trusting_context(certificate), served))


def test_a_key_with_a_password_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    files = _Files(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    secret = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, secret))

    with pytest.raises(SettingsError, match="--tls-key-file"):
        ServedCertificate(files.certificate, files.key)


def test_a_ca_that_is_not_ascii_is_refused_as_a_value() -> None:
    with pytest.raises(ValueError, match="PEM"):
        trusting_context("é")


def _rsa(name: str) -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(pem, form, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), text.decode()

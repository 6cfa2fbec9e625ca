"""Rotation: clients that trust the old CA, the new one or both always verify the same leaf."""

import asyncio
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from webhook_certs.authority import (
    create_authority,
    cross_sign,
    fingerprint,
    issue_leaf,
    load_certificate,
)
from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.rotation import Lifetimes, Rotation
from webhook_certs.stores import FolderStore, Generation
from webhook_certs.tls import create_server_context, use_leaf

NAME = "livery-injector.livery-system.svc"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


def handshake(server: ssl.SSLContext, trusted_pem: str, name: str = NAME) -> None:
    client = ssl.create_default_context(cadata=trusted_pem)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "certs")


def test_the_first_issue_makes_a_ca_that_verifies_its_leaf(store: FolderStore) -> None:
    material = Rotation(store, [NAME, "127.0.0.1"]).issue(datetime.now(UTC))
    server = create_server_context(material.leaf)
    handshake(server, material.bundle_pem)
    handshake(server, material.bundle_pem, "127.0.0.1")


def test_a_name_that_was_not_asked_for_is_refused(store: FolderStore) -> None:
    material = Rotation(store, [NAME]).issue(datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(create_server_context(material.leaf), material.bundle_pem, "evil.example")


def test_the_ca_stays_until_half_its_life_is_over(store: FolderStore) -> None:
    rotation = Rotation(store, [NAME])
    first = rotation.issue(NOW)
    assert rotation.issue(NOW + 4 * YEAR).bundle_pem == first.bundle_pem
    renewed = rotation.issue(NOW + 6 * YEAR)
    assert renewed.bundle_pem != first.bundle_pem
    assert first.bundle_pem in renewed.bundle_pem


def test_an_expired_ca_leaves_the_bundle(store: FolderStore) -> None:
    rotation = Rotation(store, [NAME])
    rotation.issue(NOW)
    rotation.issue(NOW + 6 * YEAR)
    assert rotation.issue(NOW + 10.5 * YEAR).bundle_pem.count("BEGIN CERTIFICATE") == 1


@pytest.mark.parametrize("renewals", [1, 2, 5])
def test_every_past_ca_verifies_the_newest_leaf(store: FolderStore, renewals: int) -> None:
    rotation = Rotation(store, [NAME])
    now = datetime.now(UTC)
    rotation.issue(now)
    for _ in range(renewals):
        rotation.renew_authority(now)
    material = rotation.issue(now)
    server = create_server_context(material.leaf)
    roots = [item.authority.certificate_pem for item in store.load().generations]
    assert len(roots) == renewals + 1
    for trusted in [*roots, material.bundle_pem]:
        handshake(server, trusted)


def test_a_stranger_s_ca_does_not_verify(store: FolderStore) -> None:
    material = Rotation(store, [NAME]).issue(datetime.now(UTC))
    stranger = create_authority("livery", datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(create_server_context(material.leaf), stranger.certificate_pem)


def test_a_leaf_is_what_the_profile_says() -> None:
    leaf = issue_leaf(create_authority("livery", NOW), [NAME, "::1"], NOW)
    certificate = load_certificate(leaf.chain_pem)
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["::1"]
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


def test_a_leaf_counts_a_little_before_it_was_made_and_not_longer_than_its_ca() -> None:
    authority = create_authority("livery", NOW, timedelta(hours=1))
    certificate = load_certificate(issue_leaf(authority, [NAME], NOW).chain_pem)
    assert certificate.not_valid_before_utc < NOW
    assert certificate.not_valid_after_utc == NOW + timedelta(hours=1)


def test_an_expired_ca_signs_nothing() -> None:
    authority = create_authority("livery", NOW, timedelta(hours=1))
    with pytest.raises(CertificateError, match="expired"):
        issue_leaf(authority, [NAME], NOW + timedelta(hours=2))


def test_a_cross_signed_ca_ends_with_the_older_one() -> None:
    old = create_authority("livery", NOW, timedelta(days=10))
    new = create_authority("livery", NOW, timedelta(days=100))
    crossed = load_certificate(cross_sign(old, new, NOW))
    assert crossed.not_valid_after_utc == NOW + timedelta(days=10)
    assert crossed.subject == load_certificate(new.certificate_pem).subject


def test_two_processes_that_start_at_once_agree_on_one_ca(tmp_path: Path) -> None:
    found: list[str] = []

    def start() -> None:
        rotation = Rotation(FolderStore(tmp_path), [NAME])
        found.append(rotation.issue(datetime.now(UTC)).bundle_pem)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_save_over_something_newer_is_a_conflict(store: FolderStore) -> None:
    before = store.load()
    generation = Generation(create_authority("livery", NOW))
    store.save((generation,), before.version)
    with pytest.raises(ConflictError):
        store.save((), before.version)


def test_keys_are_readable_by_their_owner_only(store: FolderStore, tmp_path: Path) -> None:
    Rotation(store, [NAME]).issue(NOW)
    assert (tmp_path / "certs" / "authorities.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{}", '{"generations": [{}]}', "[]", "\0"], ids=repr)
def test_a_damaged_store_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "authorities.json").write_text(text)
    with pytest.raises(CertificateError, match=r"authorities\.json"):
        Rotation(FolderStore(tmp_path), [NAME]).issue(NOW)


def test_a_key_of_another_certificate_changes_nothing(store: FolderStore) -> None:
    material = Rotation(store, [NAME]).issue(datetime.now(UTC))
    other = Rotation(store, [NAME]).issue(datetime.now(UTC))
    server = create_server_context(material.leaf)
    with pytest.raises(CertificateError):
        use_leaf(server, material.leaf._replace(key_pem=other.leaf.key_pem))
    handshake(server, material.bundle_pem)


def test_a_fingerprint_is_as_openssl_writes_it() -> None:
    text = fingerprint(create_authority("livery", NOW).certificate_pem)
    assert len(text.split(":")) == 32
    assert text == text.upper()


def test_no_handshake_fails_while_certificates_change_under_load(store: FolderStore) -> None:
    failures, done = asyncio.run(_rotate_under_load(store))
    assert failures == []
    assert done > 50


async def _rotate_under_load(store: FolderStore) -> tuple[list[str], int]:
    rotation = Rotation(store, [NAME], Lifetimes(leaf=timedelta(minutes=1)))
    first = rotation.issue(datetime.now(UTC))
    context = create_server_context(first.leaf)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    failures: list[str] = []
    counts = [0]
    stop = asyncio.Event()

    async def call(trusted: str) -> None:
        client = ssl.create_default_context(cadata=trusted)
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=client, server_hostname=NAME
                )
                writer.write(b"ping\n")
                if await reader.readline() == b"ping\n":
                    counts[0] += 1
                writer.close()
            except OSError as error:
                failures.append(str(error))

    clients = [asyncio.create_task(call(first.bundle_pem)) for _ in range(3)]
    for turn in range(8):
        await asyncio.sleep(0.25)
        if turn % 2:
            rotation.renew_authority(datetime.now(UTC))
        use_leaf(context, rotation.issue(datetime.now(UTC)).leaf)
    stop.set()
    await asyncio.gather(*clients)
    server.close()
    return failures, counts[0]


def test_a_ca_from_the_future_is_not_used(store: FolderStore) -> None:
    rotation = Rotation(store, [NAME])
    rotation.issue(NOW + timedelta(days=30))
    material = rotation.issue(NOW)
    assert load_certificate(material.bundle_pem).not_valid_before_utc <= NOW


@pytest.mark.parametrize("name", ["", "ünï"], ids=repr)
def test_a_bad_name_is_one_clear_error(store: FolderStore, name: str) -> None:
    with pytest.raises(CertificateError, match="neither a DNS name nor an IP address"):
        Rotation(store, [name]).issue(NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"generations": [{"certificate": 5, "key": "", "crossSigned": ""}]}',
    ],
    ids=["binary", "deep", "number"],
)
def test_a_hostile_store_is_an_error_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "authorities.json").write_bytes(content)
    with pytest.raises(CertificateError, match=r"authorities\.json"):
        Rotation(FolderStore(tmp_path), [NAME]).issue(NOW)


def test_a_key_goes_a_day_after_it_has_vouched_for_the_next_ca(store: FolderStore) -> None:
    rotation = Rotation(store, [NAME])
    old = rotation.issue(NOW).bundle_pem
    later = NOW + 6 * YEAR
    rotation.issue(later)
    assert all(item.authority.key_pem for item in store.load().generations)

    rotation.issue(later + timedelta(days=2))

    first, newest = store.load().generations
    assert (first.authority.key_pem, bool(newest.authority.key_pem)) == ("", True)
    assert old in rotation.issue(later + timedelta(days=3)).bundle_pem


def test_no_key_is_shown_by_accident(store: FolderStore) -> None:
    leaf = Rotation(store, [NAME]).issue(NOW).leaf

    assert "KEY" not in repr(leaf) + repr(store.load())

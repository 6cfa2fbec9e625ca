"""Certificates in use: issued, published, and only then served."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Material, Rotation
from webhook_certs.stores import FolderStore

from injector.app import certificates as module
from injector.app.certificates import Certificates
from injector.control.backend import Backend
from injector.errors import KubeError
from injector.files.identity import FolderAuthenticator
from injector.files.watcher import FolderSource
from injector.model.cluster.state import ClusterState

pytestmark = pytest.mark.anyio

NAME = "livery-injector.livery-system.svc"


@pytest.fixture(autouse=True)
def retries_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "PUBLISH_RETRY_SECONDS", 0.02)


class _Place:
    """A fake publisher of CAs: a written CA becomes visible once `shows` is set."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.shows = False
        self.refuses = False
        self.is_gone = False
        self.refused = 0

    def publish(self, bundle_pem: str) -> None:
        if self.is_gone:
            raise KubeError(404, "not found")
        if self.refuses:
            self.refused += 1
            raise KubeError(500, "no")
        self.written.append(bundle_pem)

    def is_published(self, bundle_pem: str) -> bool:
        return self.shows and bundle_pem in self.written


class _Issuer:
    """A rotation that can fail."""

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation
        self.failures = 0
        self.asked = 0

    def issue(self, now: datetime) -> Material:
        self.asked += 1
        if self.failures > 0:
            self.failures -= 1
            raise CertificateError("the store is away")
        return self.rotation.issue(now)


class _Running:
    """Running certificates, with the parts that tests control and observe."""

    def __init__(self, folder: Path, place: _Place | None) -> None:
        self.rotation = Rotation(FolderStore(folder), [NAME])
        self.issuer = _Issuer(self.rotation)
        self.announced: list[str] = []
        self.tell: Callable[[], None] = lambda: None
        self.is_followed = asyncio.Event()
        cluster = ClusterState()
        backend = Backend(
            cluster=cluster,
            source=FolderSource(folder, cluster),
            authenticator=FolderAuthenticator(folder),
            issuer=self._issue_for,
            publisher=place,
            on_store_change=self._listen,
        )
        self.certificates = Certificates(backend, [NAME], self._announce)
        self.certificates.open()

    def _issue_for(self, names: Sequence[str]) -> _Issuer:
        assert list(names) == [NAME]
        return self.issuer

    def _announce(self, material: Material) -> None:
        self.announced.append(material.bundle_pem)

    def _listen(self, listener: Callable[[], None]) -> None:
        self.tell = listener
        self.is_followed.set()

    def renew_authority(self) -> None:
        self.rotation.renew_authority(datetime.now(UTC))
        self.tell()

    def served(self) -> str:
        """Return the certificate that clients are served now."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        near = client.wrap_bio(down, up, server_hostname=NAME)
        far = self.certificates.tls.wrap_bio(up, down, server_side=True)
        for side in (near, far, near, far):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        return ssl.DER_cert_to_PEM_cert(near.getpeercert(binary_form=True) or b"")


@contextlib.asynccontextmanager
async def _running(folder: Path, place: _Place | None = None) -> AsyncIterator[_Running]:
    running = _Running(folder, place)
    task = asyncio.create_task(running.certificates.run())
    await running.is_followed.wait()
    try:
        yield running
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_nobody_is_ready_before_the_api_server_has_the_ca(tmp_path: Path) -> None:
    place = _Place()
    async with _running(tmp_path, place) as running:
        await _until(lambda: len(place.written) >= 2)
        assert "does not contain the CA yet" in running.certificates.unready()
        place.shows = True
        await _until(lambda: not running.certificates.unready())

    assert set(place.written) == set(running.announced)


async def test_without_an_api_server_nothing_is_waited_for(tmp_path: Path) -> None:
    assert _Running(tmp_path, None).certificates.unready() == ""


async def test_where_nothing_is_left_to_publish_in_running_proxies_are_served_all_the_same(
    tmp_path: Path,
) -> None:
    place = _Place()
    place.is_gone = True
    async with _running(tmp_path, place) as running:
        await _until(lambda: not running.certificates.unready())
        assert running.certificates.problem == "cannot publish the CA: not found (404)"
        place.is_gone, place.shows = False, True
        await _until(lambda: not running.certificates.problem)


async def test_a_refusal_is_tried_again_and_ends_nothing(tmp_path: Path) -> None:
    place = _Place()
    place.shows, place.refuses = True, True
    async with _running(tmp_path, place) as running:
        await _until(lambda: place.refused >= 2)
        assert running.certificates.unready()
        place.refuses = False
        await _until(lambda: not running.certificates.unready())


async def test_a_leaf_of_a_new_ca_is_served_once_the_ca_is_seen(tmp_path: Path) -> None:
    place = _Place()
    place.shows = True
    async with _running(tmp_path, place) as running:
        await _until(lambda: not running.certificates.unready())
        before = running.served()
        place.shows = False
        running.renew_authority()
        await _until(lambda: len(running.announced) == 2)
        await _until(lambda: place.written[-1] == running.announced[1])
        assert running.served() == before
        assert not running.certificates.unready()  # the previous CA signed the served leaf
        place.shows = True
        await _until(lambda: running.served() != before)


async def test_a_ca_that_is_never_seen_holds_a_leaf_up_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUBLISH_SECONDS", 0.05)
    async with _running(tmp_path, _Place()) as running:
        before = running.served()
        running.renew_authority()
        await _until(lambda: running.served() != before)


async def test_an_issuer_that_fails_is_asked_again(tmp_path: Path) -> None:
    async with _running(tmp_path) as running:
        running.issuer.failures = 2
        before = running.served()
        running.renew_authority()
        await _until(lambda: running.served() != before)

    assert running.issuer.asked == 4


async def test_a_look_that_finds_nothing_new_announces_nothing(tmp_path: Path) -> None:
    async with _running(tmp_path) as running:
        running.tell()
        await _until(lambda: running.issuer.asked == 2)
        running.renew_authority()
        await _until(lambda: len(running.announced) > 1)

    assert len(set(running.announced)) == len(running.announced) == 2


async def test_a_leaf_is_renewed_in_time_by_itself(tmp_path: Path) -> None:
    running = _Running(tmp_path, None)
    due = datetime.now(UTC) - timedelta(days=1)
    material = running.certificates.material
    running.certificates.material = material._replace(renew_at=due)
    task = asyncio.create_task(running.certificates.run())
    await _until(lambda: running.certificates.material.renew_at > due)
    task.cancel()

    assert running.issuer.asked == 2

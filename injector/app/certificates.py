"""Issues the injector's certificate, publishes its CA to the API server, then serves it."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Material
from webhook_certs.tls import create_server_context, use_leaf

from injector.control.backend import Backend, Publisher
from injector.errors import KubeError
from sidecar.model.described import Described

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
CHECK_SECONDS = 30.0
"""How often the published CA is checked again: others write to the same object."""
PUBLISH_RETRY_SECONDS = 1.0
PUBLISH_SECONDS = 60.0
"""How long a new leaf waits until the API server has its CA. After that it is served anyway: the
previous CA cross-signs the new one, so clients that know only the previous CA can verify it."""


class Publication(Described):
    """Whether the API server has the CAs, as far as readiness depends on it."""

    NEEDLESS = "needless", "no API server needs the CAs"
    AWAITED = "awaited", "the webhook configuration does not contain the CA yet"
    SEEN = "seen", "the API server has the CAs"
    GONE = "gone", "the object to publish the CAs in does not exist"

    def after_look(self, *, is_seen: bool, is_gone: bool) -> "Publication":
        """Return the state after one check.

        SEEN is final: later CAs are cross-signed by the published one, and one failed check must
        not make the replica unready, which would take the webhook down. Readiness does not wait
        for an object that does not exist: running proxies still need the control service.

        Args:
            is_seen: whether the API server has the CAs.
            is_gone: whether the object they are published in does not exist.
        """
        if is_seen or self is Publication.SEEN:
            return Publication.SEEN
        return Publication.GONE if is_gone else Publication.AWAITED


class Certificates:
    """Keeps a valid leaf in a TLS context and publishes the CAs."""

    def __init__(
        self, backend: Backend, names: Sequence[str], announce: Callable[[Material], None]
    ) -> None:
        self._backend = backend
        self._issuer = backend.issuer(names)
        self._announce = announce
        self._publication = (
            Publication.NEEDLESS if backend.publisher is None else Publication.AWAITED
        )
        self.problem = ""
        """Why the CAs are not published; empty if they are, or before the first attempt."""
        self._wanted = asyncio.Event()
        self._seen = asyncio.Event()
        self._changed = asyncio.Event()
        self.material: Material
        self.tls: ssl.SSLContext

    def open(self) -> None:
        """Issue the first leaf.

        Raises:
            CertificateError: no certificate can be issued or stored.
        """
        self.material = self._issuer.issue(datetime.now(UTC))
        self.tls = create_server_context(self.material.leaf)
        self._announce(self.material)

    def unready(self) -> str:
        """Return why the API server cannot call the webhook yet; empty if it can."""
        return self._publication.sentence if self._publication is Publication.AWAITED else ""

    async def run(self) -> None:
        """Renew and publish until cancelled."""
        self._backend.on_store_change(self._changed.set)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            if self._backend.publisher is not None:
                group.create_task(self._publish(self._backend.publisher))

    async def _renew(self) -> None:
        while True:
            left = (self.material.renew_at - datetime.now(UTC)).total_seconds()
            await _wait(self._changed, max(1.0, left))
            self._changed.clear()
            try:
                material = await asyncio.to_thread(self._issuer.issue, datetime.now(UTC))
            except (CertificateError, OSError) as error:
                logger.error("cannot issue a certificate; retrying", extra={"reason": str(error)})
                await _wait(self._changed, RETRY_SECONDS)
                self._changed.set()
                continue
            if material[:2] == self.material[:2]:
                self.material = material  # the same certificate; `renew_at` may differ
                continue
            await self._take(material)

    async def _take(self, material: Material) -> None:
        before = self.material
        self.material = material
        # Before the leaf is used: connected proxies may not trust a CA that no earlier one signed.
        self._announce(material)
        if self._backend.publisher is not None and material.bundle_pem != before.bundle_pem:
            self._seen.clear()
            self._wanted.set()
            await _wait(self._seen, PUBLISH_SECONDS)
        if material.leaf == before.leaf:
            logger.info("CA bundle updated; the certificate is unchanged")
            return
        use_leaf(self.tls, material.leaf)
        logger.info("certificate renewed", extra={"until": material.leaf.not_after.isoformat()})

    async def _publish(self, publisher: Publisher) -> None:
        while True:
            bundle = self.material.bundle_pem
            self._wanted.clear()
            try:
                await asyncio.to_thread(publisher.publish, bundle)
                is_seen = await asyncio.to_thread(publisher.is_published, bundle)
                self.problem, is_gone = "", False
            except Exception as error:
                self.problem = f"cannot publish the CA: {error}"
                is_gone = isinstance(error, KubeError) and error.status == 404
                logger.warning("cannot publish the CA", extra={"reason": str(error)})
                is_seen = False
            self._publication = self._publication.after_look(is_seen=is_seen, is_gone=is_gone)
            if is_seen and bundle == self.material.bundle_pem:
                self._seen.set()
            await _wait(self._wanted, CHECK_SECONDS if is_seen else PUBLISH_RETRY_SECONDS)


async def _wait(event: asyncio.Event, timeout_seconds: float) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        return

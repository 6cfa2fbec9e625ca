"""The injector's certificates in use: issued, published where the API server looks, then served."""

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
"""How often what is published is looked at again: others apply that object, too."""
PUBLISH_RETRY_SECONDS = 1.0
PUBLISH_SECONDS = 60.0
"""How long a leaf waits for its CA to be seen. Then it is served all the same: a new CA is vouched
for by the one before, so who knows that one only verifies it."""


class Publication(Described):
    """Whether the API server knows the CAs, as far as readiness goes."""

    NEEDLESS = "needless", "no API server needs to know them"
    AWAITED = "awaited", "the webhook's configuration does not have the CA yet"
    SEEN = "seen", "the API server was seen to have them"
    GONE = "gone", "there is nothing to publish them in"

    def after_look(self, *, is_seen: bool, is_gone: bool) -> "Publication":
        """Return the state after one look.

        Who was seen stays seen: what follows is vouched for by what was, and a replica that went
        out of service for one failed look would take the webhook with it. What is not there nobody
        waits for: running proxies have the control service all the same.

        Args:
            is_seen: whether the API server has the CAs.
            is_gone: whether what they are published in is not there.
        """
        if is_seen or self is Publication.SEEN:
            return Publication.SEEN
        return Publication.GONE if is_gone else Publication.AWAITED


class Certificates:
    """Keeps a TLS context at a leaf that counts, and tells others of the CAs."""

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
        """Why the CAs are not published; empty where they are, or nobody has tried yet."""
        self._wanted = asyncio.Event()
        self._seen = asyncio.Event()
        self._changed = asyncio.Event()
        self.material: Material
        self.tls: ssl.SSLContext

    def open(self) -> None:
        """Issue the first leaf.

        Raises:
            CertificateError: no certificate can be made or kept.
        """
        self.material = self._issuer.issue(datetime.now(UTC))
        self.tls = create_server_context(self.material.leaf)
        self._announce(self.material)

    def unready(self) -> str:
        """Say what keeps the API server from calling; empty where nothing does."""
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
                logger.error("no new certificate; trying again", extra={"reason": str(error)})
                await _wait(self._changed, RETRY_SECONDS)
                self._changed.set()
                continue
            if material[:2] == self.material[:2]:
                self.material = material  # to be looked at again, perhaps, at another time
                continue
            await self._take(material)

    async def _take(self, material: Material) -> None:
        before = self.material
        self.material = material
        # Before it is used: who listens now would not know a CA that none before vouches for.
        self._announce(material)
        if self._backend.publisher is not None and material.bundle_pem != before.bundle_pem:
            self._seen.clear()
            self._wanted.set()
            await _wait(self._seen, PUBLISH_SECONDS)
        if material.leaf == before.leaf:
            logger.info("other CAs are trusted from now on")
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
                self.problem = f"the CA cannot be published: {error}"
                is_gone = isinstance(error, KubeError) and error.status == 404
                logger.warning("the CA cannot be published", extra={"reason": str(error)})
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

"""Ports that may be busy for a while, and tasks that go on though they failed."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import SettingsError
from sidecar.server import Server

logger = logging.getLogger(__name__)

PORT_RETRY_SECONDS = 2.0
RESTART_SECONDS = 5.0
CERTIFICATE_POLL_SECONDS = 5.0


class Ports:
    """Opens the proxy's ports; a busy one is tried again and again, and said to be."""

    def __init__(self) -> None:
        self.bound: dict[str, int] = {}
        """Port by what it is for, once it is open."""
        self.faults: dict[str, str] = {}
        """Why not, by what it is for."""

    async def listen(
        self, server: Server, port: int, purpose: str, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen on all addresses; returns when that works."""
        while True:
            try:
                bound = await server.start("", port, tls)
            except OSError as error:
                # The application may give the port up yet; leaving would harm its pod.
                self.faults[purpose] = f"cannot listen on port {port}: {error}"
                extra = {"port": port, "reason": str(error)}
                logger.error("a port is busy; trying on", extra=extra)
                await asyncio.sleep(PORT_RETRY_SECONDS)
                continue
            self.faults.pop(purpose, None)
            self.bound[purpose] = bound
            logger.info("listening", extra={"port": bound, "for": purpose})
            return


class ServedCertificate:
    """A certificate and key in files, followed while they are served.

    Raises:
        SettingsError: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._stamps = self._stat()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self.tls.load_cert_chain(*map(str, self._files))
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"--tls-cert-file {certificate}: {error}") from error

    async def follow(self) -> None:
        """Serve what the files hold whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(CERTIFICATE_POLL_SECONDS)
            stamps = self._stat()
            if stamps == self._stamps:
                continue
            self._stamps = stamps
            try:
                # Tried first: a failed load would leave the live one without a key.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*map(str, self._files))
                self.tls.load_cert_chain(*map(str, self._files))
            except (OSError, ssl.SSLError) as error:
                extra = {"reason": str(error)}
                logger.error("the new certificate cannot be used; the last one stays", extra=extra)

    def _stat(self) -> list[int]:
        try:
            return [path.stat().st_mtime_ns for path in self._files]
        except OSError:
            return []


class Listener(NamedTuple):
    """A server and where it listens."""

    server: Server
    port: int
    purpose: str
    tls: ssl.SSLContext | None = None
    drain_seconds: float = 1.0
    """How long what is in flight may take at the end."""


async def serve(
    ports: Ports,
    listeners: Sequence[Listener],
    tasks: Sequence[Callable[[], Awaitable[None]]],
    stop: asyncio.Event,
) -> None:
    """Listen and keep tasks up until `stop`; then finish what is in flight."""
    async with asyncio.TaskGroup() as group:
        listening = [ports.listen(one.server, one.port, one.purpose, one.tls) for one in listeners]
        started = [group.create_task(work) for work in (*listening, *map(keep_up, tasks))]
        await stop.wait()
        logger.info("stopping; scrapes in flight are finished")
        for listener in listeners:
            await listener.server.drain(listener.drain_seconds)
        for task in started:
            task.cancel()


async def keep_up(run: Callable[[], Awaitable[None]]) -> None:
    """Start a task again that failed in a way nobody foresaw: the proxy must not end for it."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("a task failed; starting it again")
        await asyncio.sleep(RESTART_SECONDS)

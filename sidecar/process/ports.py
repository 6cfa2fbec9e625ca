"""Ports that may be busy for a while, and what listens on them."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from sidecar.http.server import Server
from sidecar.process.supervisor import keep_up

logger = logging.getLogger(__name__)

PORT_RETRY_SECONDS = 2.0


class Ports:
    """Opens the proxy's ports; a busy one is tried again and again, and said to be.

    Args:
        on_change: hears that a port became busy, or free.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
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
                self._on_change()
                extra = {"port": port, "reason": str(error)}
                logger.error("a port is busy; trying on", extra=extra)
                await asyncio.sleep(PORT_RETRY_SECONDS)
                continue
            if self.faults.pop(purpose, None):
                self._on_change()
            self.bound[purpose] = bound
            logger.info("listening", extra={"port": bound, "for": purpose})
            return


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

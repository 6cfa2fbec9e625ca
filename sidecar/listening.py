"""Ports that may be busy for a while, and tasks that go on though they failed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sidecar.server import Server

logger = logging.getLogger(__name__)

PORT_RETRY_SECONDS = 2.0
RESTART_SECONDS = 5.0


class Ports:
    """Opens the proxy's ports; a busy one is tried again and again, and said to be."""

    def __init__(self) -> None:
        self.bound: dict[str, int] = {}
        """Port by what it is for, once it is open."""
        self.faults: dict[str, str] = {}
        """Why not, by what it is for."""

    async def listen(self, server: Server, port: int, purpose: str) -> None:
        """Listen on all addresses; returns when that works."""
        while True:
            try:
                bound = await server.start("", port)
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


async def keep_up(run: Callable[[], Awaitable[None]]) -> None:
    """Start a task again that failed in a way nobody foresaw: the proxy must not end for it."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("a task failed; starting it again")
        await asyncio.sleep(RESTART_SECONDS)

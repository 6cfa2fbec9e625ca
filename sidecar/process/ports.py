"""Ports that may be busy for a while, and what listens on them."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from sidecar.errors import SettingsError
from sidecar.http.server import Server
from sidecar.http.system_errors import describe
from sidecar.process.supervisor import keep_up

logger = logging.getLogger(__name__)

PORT_RETRY_SECONDS = 2.0
LISTEN_ADDRESS = "LIVERY_LISTEN_ADDRESS"
"""Environment variable with the address to listen on; all addresses where it is empty."""


def read_host(environ: Mapping[str, str]) -> str:
    """Return the address to listen on; empty for all.

    Raises:
        SettingsError: it is not an IP address.
    """
    host = environ.get(LISTEN_ADDRESS, "").strip()
    try:
        if host:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError as error:
        raise SettingsError(
            f"{LISTEN_ADDRESS} is {host[:60]!r}: an IP address is needed, such as 127.0.0.1"
        ) from error
    return host


class Ports:
    """Opens the proxy's ports; a busy one is tried again and again, and said to be.

    Args:
        on_change: hears that a port became busy, or free.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self.host = ""
        """The address to listen on; empty for all."""
        self.bound: dict[str, int] = {}
        """Port by what it is for, once it is open."""
        self.faults: dict[str, str] = {}
        """Why not, by what it is for."""
        self.is_stopping = False
        """Whether new requests should go elsewhere."""

    async def listen(
        self,
        server: Server,
        port: int,
        purpose: str,
        tls: ssl.SSLContext | None = None,
        *,
        flag: str = "",
    ) -> None:
        """Listen on a port of the host; returns when that works.

        Args:
            server: what listens.
            port: where.
            purpose: what for, in sentences.
            tls: certificates; None for plain HTTP.
            flag: the setting that chooses the port, where a busy one is not waited for.

        Raises:
            SettingsError: the port is busy, and there is a flag for another.
        """
        while True:
            try:
                bound = await server.start(self.host, port, tls)
            except OSError as error:
                if flag:
                    said = f"port {port} {_trouble(error)}: choose another with {flag}"
                    raise SettingsError(said) from error
                # The application may give the port up yet; leaving would harm its pod.
                self.faults[purpose] = f"cannot listen on port {port}: it {_trouble(error)}"
                self._on_change()
                extra = {"port": port, "reason": f"it {_trouble(error)}"}
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
    flag: str = ""
    """The setting that chooses the port, where a busy one is not waited for."""


async def serve(
    ports: Ports,
    listeners: Sequence[Listener],
    tasks: Sequence[Callable[[], Awaitable[None]]],
    stop: asyncio.Event,
    *,
    linger_seconds: float = 0.0,
) -> None:
    """Listen and keep tasks up until `stop`; then finish what is in flight.

    Args:
        ports: opens the ports.
        listeners: what listens; those with a flag first of all.
        tasks: work beside.
        stop: ends it.
        linger_seconds: how long new requests are answered after that: who sends to a Service
            learns late that one of its pods goes.

    Raises:
        SettingsError: a port that has a flag is busy.
    """
    for one in listeners:
        if one.flag:
            await ports.listen(one.server, one.port, one.purpose, one.tls, flag=one.flag)
    waiting = [one for one in listeners if not one.flag]
    async with asyncio.TaskGroup() as group:
        listening = [ports.listen(one.server, one.port, one.purpose, one.tls) for one in waiting]
        started = [group.create_task(work) for work in (*listening, *map(keep_up, tasks))]
        await stop.wait()
        logger.info("stopping; what is in flight is finished")
        if linger_seconds:
            ports.is_stopping = True
            await asyncio.sleep(linger_seconds)
        for listener in listeners:
            await listener.server.drain(listener.drain_seconds)
        for task in started:
            task.cancel()


def _trouble(error: OSError) -> str:
    return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {describe(error)}"

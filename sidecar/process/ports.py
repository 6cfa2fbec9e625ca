"""Opens ports, which may be busy for a while, and serves on them."""

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
    """Opens the proxy's ports; a busy port is retried and reported.

    Args:
        on_change: called when a port is found to be busy, or has become free.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self.host = ""
        """The address to listen on; empty for all."""
        self.bound: dict[str, int] = {}
        """Open ports, by purpose."""
        self.faults: dict[str, str] = {}
        """Why ports cannot be opened, by purpose."""
        self.is_stopping = False
        """Whether the proxy is shutting down, so that new requests should go elsewhere."""

    async def listen(
        self,
        server: Server,
        port: int,
        purpose: str,
        tls: ssl.SSLContext | None = None,
        *,
        flag: str = "",
    ) -> None:
        """Listen on a port of the host; returns once the port is open.

        Args:
            server: the server that listens.
            port: the port.
            purpose: purpose of the port, for messages.
            tls: TLS context with the certificate; None for plain HTTP.
            flag: flag that sets the port, if a busy port is an error; empty to wait for the port.

        Raises:
            SettingsError: the port is busy, and `flag` is set.
        """
        while True:
            try:
                bound = await server.start(self.host, port, tls)
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL) and self.host:
                    said = f"{LISTEN_ADDRESS} is {self.host}, which is no address of this host"
                    raise SettingsError(said) from error
                if flag:
                    said = f"port {port} {_trouble(error)}: choose another with {flag}"
                    raise SettingsError(said) from error
                # The application may still release the port; exiting would harm its pod.
                self.faults[purpose] = f"cannot listen on port {port}: it {_trouble(error)}"
                self._on_change()
                extra = {"port": port, "reason": f"it {_trouble(error)}"}
                logger.error("a port is busy; retrying", extra=extra)
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
    """How long requests in flight may take at shutdown."""
    flag: str = ""
    """Flag that sets the port, if a busy port is an error; empty to wait for the port."""


async def serve(
    ports: Ports,
    listeners: Sequence[Listener],
    tasks: Sequence[Callable[[], Awaitable[None]]],
    stop: asyncio.Event,
    *,
    linger_seconds: float = 0.0,
) -> None:
    """Serve and run tasks until `stop` is set, then finish requests in flight.

    Args:
        ports: opens the ports.
        listeners: the servers and their ports; those with a flag are opened first.
        tasks: background tasks; they are restarted if they fail.
        stop: starts the shutdown.
        linger_seconds: how long new requests are still answered after that, because clients of a
            Service learn with a delay that a pod is terminating.

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
        logger.info("stopping; finishing requests in flight")
        if linger_seconds:
            ports.is_stopping = True
            await asyncio.sleep(linger_seconds)
        for listener in listeners:
            await listener.server.drain(listener.drain_seconds)
        for task in started:
            task.cancel()


def _trouble(error: OSError) -> str:
    return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {describe(error)}"

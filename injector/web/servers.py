"""uvicorn, told what it does not offer: a given TLS context, and no hand in our signals."""

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

TLS_READ_BYTES = 16 << 10
"""What one TLS connection reads at once. Asyncio's own 256 KiB is written with zeros for each
connection: 2.5 GB for 10,000 idle policy streams."""
REQUEST_TIMEOUT_SECONDS = 10.0
"""A request whose head takes between one and two of these is cut off."""


# A class attribute of the standard library since 3.11; there is no argument for it.
sslproto.SSLProtocol.max_size = TLS_READ_BYTES


class AppServer(uvicorn.Server):
    """One app on one port."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            # Of uvicorn's parsers the one that bounds a request's headers.
            http="h11",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=64 << 10,
        )
        config.load()
        # Set after loading: uvicorn itself reads certificates from files only, once.
        config.ssl = tls
        super().__init__(config)
        self._listener = listener

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until told to stop, then finish what is in flight."""
        serving = asyncio.create_task(self.serve(sockets=[self._listener]))
        stopping = asyncio.create_task(stop.wait())
        reaping = asyncio.create_task(self._reap())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        reaping.cancel()
        self.should_exit = True
        await serving

    async def _reap(self) -> None:
        """Close connections that never send a whole request's head; uvicorn waits for ever."""
        waiting: set[object] = set()
        while True:
            await asyncio.sleep(REQUEST_TIMEOUT_SECONDS)
            silent: set[object] = {
                connection
                for connection in self.server_state.connections
                if _awaits_head(connection)
            }
            for connection in waiting & silent:
                transport = getattr(connection, "transport", None)
                if transport is not None:
                    transport.abort()
            waiting = silent


def _awaits_head(connection: object) -> bool:
    """Tell whether a connection still owes the head of a request that is due now."""
    cycle = getattr(connection, "cycle", None)
    if cycle is None:
        return True
    # uvicorn has a timer for the time between requests; the first byte of the next one stops it.
    is_between = getattr(connection, "timeout_keep_alive_task", None) is not None
    return bool(cycle.response_complete) and not is_between

"""uvicorn with two additions: a connection budget, and a TLS context made by the caller."""

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope
from uvicorn.protocols.http.h11_impl import H11Protocol

from sidecar.http.handshakes import HandshakeBudget, TlsPort
from sidecar.http.peers import PeerShares

TLS_READ_BYTES = 4 << 10
"""Read buffer of one TLS connection. Asyncio zero-fills its default of 256 KiB: 2.5 GB of memory
for 10,000 idle policy streams."""
WRITE_BUFFER_BYTES = 16 << 10
"""Unsent bytes of one connection above which its sender waits."""
READ_BUFFER_BYTES = 16 << 10
"""Unread bytes of one TLS connection above which no more are received."""
ANSWER_TIMEOUT_SECONDS = 30.0
"""A connection whose client reads too slowly for this long is aborted."""
REQUEST_TIMEOUT_SECONDS = 10.0
"""A connection whose request is incomplete, or whose first request has not begun, after this time
is aborted."""


# A class attribute in the standard library since 3.11; no argument sets it.
sslproto.SSLProtocol.max_size = TLS_READ_BYTES


class PortBudget(NamedTuple):
    """Limits of one port, which clients share equally."""

    connections: int = 256
    handshakes: HandshakeBudget = HandshakeBudget()


DEFAULT_BUDGET = PortBudget()
CONNECTION = "livery.connection"
"""The ASGI extension that holds the connection of a request."""
BACKLOG = 4096
"""Connections that may wait to be accepted; if the queue is full, a client retries only after a
second."""


class AppServer(uvicorn.Server):
    """One app on one port.

    Args:
        app: the app.
        listener: a listening socket.
        tls: has the server certificate; None for plain HTTP.
        budget: limits of the port.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        budget: PortBudget = DEFAULT_BUDGET,
    ) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            # Lower levels log each malformed request, so any client could fill the log.
            log_level="error",
            access_log=False,
            server_header=False,
            # There is no trusted proxy in front whose forwarding headers could be used.
            proxy_headers=False,
            ws="none",
            # The parser of uvicorn that limits the size of a request's headers.
            http="h11",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=64 << 10,
        )
        config.load()
        super().__init__(config)
        self.connections: PeerShares[Connection] = PeerShares(budget.connections)
        self._listener = listener
        self._tls = tls
        self._budget = budget

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._listener.getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handling to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; every connection counts towards the budget from its first byte."""
        if self._tls is None:
            loop = asyncio.get_running_loop()
            self.servers = [
                await loop.create_server(self._connect, sock=self._listener, backlog=BACKLOG)
            ]
        else:
            port = TlsPort(self._listener, self._tls, self._connect, self._budget.handshakes)
            port.start(BACKLOG)
            self.servers = [port]  # type: ignore[list-item] # uvicorn closes it like its own
        self.started = True

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish the requests in flight."""
        serving = asyncio.create_task(self.serve(sockets=[self._listener]))
        stopping = asyncio.create_task(stop.wait())
        reaping = asyncio.create_task(self._reap())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        reaping.cancel()
        self.should_exit = True
        await serving

    def admit(self, connection: "Connection", peer: str) -> bool:
        """Register a connection; False if there is no room and none can be freed."""
        if self.connections.is_full:
            victim = self.connections.victim(lambda item: not item.is_busy, peer)
            if victim is None:
                return False
            self.connections.discard(victim)
            victim.transport.abort()
        self.connections.add(connection, peer)
        return True

    def _connect(self) -> asyncio.Protocol:
        return Connection(self)

    async def _reap(self) -> None:
        """Abort connections whose request or response stalls; uvicorn would wait for ever."""
        while True:
            await asyncio.sleep(REQUEST_TIMEOUT_SECONDS / 4)
            now = asyncio.get_running_loop().time()
            for connection in self.connections:
                owes_too_long = connection.owes_since() < now - REQUEST_TIMEOUT_SECONDS
                if owes_too_long or connection.paused_since < now - ANSWER_TIMEOUT_SECONDS:
                    connection.transport.abort()


class Connection(H11Protocol):
    """One client's connection; an app finds it in the extensions of the request's scope."""

    def __init__(self, server: AppServer) -> None:
        super().__init__(server.config, server.server_state, {})
        self._port = server
        self._owes_since: float | None = None
        self.paused_since = float("inf")
        """Loop time since which the client has read too slowly; inf if it does not."""
        self.app = self._call
        self.on_lost: Callable[[], None] | None = None
        """Called once, when the connection is lost."""

    @property
    def is_busy(self) -> bool:
        """Whether a complete request is being answered."""
        cycle: object = self.cycle  # uvicorn's annotation omits that it may be None
        return cycle is not None and not self.cycle.response_complete and not self._owes()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if isinstance(transport, sslproto._SSLProtocolTransport):
            transport.set_read_buffer_limits(high=READ_BUFFER_BYTES)
        peer = self.client[0] if self.client else ""
        if not self._port.admit(self, peer):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection."""
        self._port.connections.discard(self)
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)
        del self.app, self.on_lost  # each is part of a reference cycle

    def pause_writing(self) -> None:
        """Record when the client began to read too slowly."""
        self.paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Record that the client reads fast enough again."""
        self.paused_since = float("inf")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request with 400; abort if another response has already begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    @property
    def is_paused(self) -> bool:
        """Whether the client reads too slowly, so that writes accumulate in memory."""
        return self.flow.write_paused

    def write_chunk(self, data: bytes) -> None:
        """Write one chunk of a chunked response that has begun.

        This bypasses h11, which needs twice as long for a chunk as encryption does: a label change
        sends one chunk to each of 10,000 policy streams.

        Source: RFC 9112 §7.1
        """
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def drain(self) -> None:
        """Wait until the client has read enough of the buffered data."""
        await self.flow.drain()

    def _call(self, scope: ASGIScope, receive: Receive, send: Send) -> Awaitable[None]:
        # Not awaited here: this saves one stack frame while the request lasts.
        scope["extensions"] = {CONNECTION: self}
        return self.config.loaded_app(scope, receive, send)  # type: ignore[no-any-return]

    def owes_since(self) -> float:
        """Return the loop time since which a request is awaited or incomplete; inf if none is."""
        if not self._owes():
            self._owes_since = None
            return float("inf")
        if self._owes_since is None:
            self._owes_since = self.loop.time()
        return self._owes_since

    def _owes(self) -> bool:
        if self.conn.their_state is h11.SEND_BODY:
            return True
        cycle: object = self.cycle
        if cycle is not None and not self.cycle.response_complete:
            return False
        # Between requests uvicorn runs a timer, which the first byte of the next request stops.
        return self.timeout_keep_alive_task is None

"""uvicorn with what it does not offer: a budget of connections, and a given TLS context."""

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
"""What one TLS connection reads at once. Asyncio's own 256 KiB is written with zeros for each
connection: 2.5 GB for 10,000 idle policy streams."""
WRITE_BUFFER_BYTES = 16 << 10
"""Unsent bytes of one connection beyond which its sender waits."""
READ_BUFFER_BYTES = 16 << 10
"""What is taken of a client that sends on while it is not read."""
ANSWER_TIMEOUT_SECONDS = 30.0
"""An answer of which nothing is taken for this time is cut off."""
REQUEST_TIMEOUT_SECONDS = 10.0
"""A request that is not whole after this time, and a connection without one, are cut off."""


# A class attribute of the standard library since 3.11; there is no argument for it.
sslproto.SSLProtocol.max_size = TLS_READ_BYTES


class PortBudget(NamedTuple):
    """Bounds of one port; within them clients have equal shares."""

    connections: int = 256
    handshakes: HandshakeBudget = HandshakeBudget()


DEFAULT_BUDGET = PortBudget()
CONNECTION = "livery.connection"
"""The extension by which an app finds the connection of its request."""
BACKLOG = 4096
"""Connections that may wait to be accepted: where there is no room, a client tries again only after
a second."""


class AppServer(uvicorn.Server):
    """One app on one port.

    Args:
        app: the app.
        listener: a listening socket.
        tls: with the certificate that is served; None for plain HTTP.
        budget: bounds of the port.
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
            # Below, it has a line for each request that is none: anybody could fill the log.
            log_level="error",
            access_log=False,
            server_header=False,
            # Nobody stands before it whose word about a client counts.
            proxy_headers=False,
            ws="none",
            # Of uvicorn's parsers the one that bounds a request's headers.
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
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; every connection is counted, from its first byte on."""
        if self._tls is None:
            loop = asyncio.get_running_loop()
            self.servers = [
                await loop.create_server(self._connect, sock=self._listener, backlog=BACKLOG)
            ]
        else:
            port = TlsPort(self._listener, self._tls, self._connect, self._budget.handshakes)
            port.start(BACKLOG)
            self.servers = [port]  # type: ignore[list-item] # closed by uvicorn as its own are
        self.started = True

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

    def admit(self, connection: "Connection", peer: str) -> bool:
        """Count a connection in, where there is room for it or can be made."""
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
        """Cut off who owes a request, or takes no answer, for too long; uvicorn waits for ever."""
        while True:
            await asyncio.sleep(REQUEST_TIMEOUT_SECONDS / 4)
            now = asyncio.get_running_loop().time()
            for connection in self.connections:
                owes_too_long = connection.owes_since() < now - REQUEST_TIMEOUT_SECONDS
                if owes_too_long or connection.paused_since < now - ANSWER_TIMEOUT_SECONDS:
                    connection.transport.abort()


class Connection(H11Protocol):
    """One client's connection; an app finds it among the request's extensions."""

    def __init__(self, server: AppServer) -> None:
        super().__init__(server.config, server.server_state, {})
        self._port = server
        self._owes_since: float | None = None
        self.paused_since = float("inf")
        """Since when, in the loop's time, the client has taken too little; inf if it does not."""
        self.app = self._call
        self.on_lost: Callable[[], None] | None = None
        """Called once, when the client is gone."""

    @property
    def is_busy(self) -> bool:
        """Whether a whole request is being answered."""
        cycle: object = self.cycle  # uvicorn's annotation leaves out that there may be none
        return cycle is not None and not self.cycle.response_complete and not self._owes()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if isinstance(transport, sslproto._SSLProtocolTransport):
            transport.set_read_buffer_limits(high=READ_BUFFER_BYTES)
        peer = self.client[0] if self.client else ""
        if not self._port.admit(self, peer):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        self._port.connections.discard(self)
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)
        del self.app, self.on_lost  # each leads back here

    def pause_writing(self) -> None:
        """Note since when the client takes too little."""
        self.paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it takes enough again."""
        self.paused_since = float("inf")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; behind an answer that has begun only the end is left."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    @property
    def is_paused(self) -> bool:
        """Whether the client takes too little: what is written now waits here."""
        return self.flow.write_paused

    def write_chunk(self, data: bytes) -> None:
        """Write a part of a response that has begun and is chunked.

        Past h11, whose work for a chunk is twice that of encrypting it: 10,000 policy streams get
        one each when a label changes.

        Source: RFC 9112 §7.1
        """
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def drain(self) -> None:
        """Wait until the client took enough of what was written."""
        await self.flow.drain()

    def _call(self, scope: ASGIScope, receive: Receive, send: Send) -> Awaitable[None]:
        # Not awaited here: one frame less, for as long as the request lasts.
        scope["extensions"] = {CONNECTION: self}
        return self.config.loaded_app(scope, receive, send)  # type: ignore[no-any-return]

    def owes_since(self) -> float:
        """Since when, in the loop's time, the client owes a request or its rest; inf if not."""
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
        # Between requests uvicorn has a timer; the first byte of the next one stops it.
        return self.timeout_keep_alive_task is None

"""A listening TLS port that silent and stalled clients cannot exhaust.

Asyncio's own server begins the handshake of each connection at once and exposes the connection only
afterwards: until then it can neither be counted by client nor dropped. Here a connection first
waits for the client's first byte, which costs only a socket, then for its turn. Shared with the
injector.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from sidecar.http.peers import PeerShares

TIMEOUT_SECONDS = 10.0
"""Time limit for the client's first byte, and then again for its handshake."""
_ACCEPTS_AT_ONCE = 16
"""A few, so that between batches the loop notices which clients have sent something."""
_RETRY_SECONDS = 1.0


class HandshakeBudget(NamedTuple):
    """Limits of one port; each is shared fairly among client addresses."""

    silent: int = 256
    """Connections that have sent nothing."""
    agreeing: int = 64
    """Handshakes in progress."""
    queued: int = 1_024
    """Connections that have sent something and wait for their handshake."""


class _Pending:
    """A connection before its handshake is complete."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_handed_over = False
        """Whether a transport owns the connection, and closes it."""


class TlsPort:
    """Accepts connections, and passes each to a protocol once its handshake is complete.

    Args:
        listener: a listening socket; it is closed with the port.
        tls: context with the server's certificate.
        make_protocol: makes the protocol of a connection.
        budget: limits of connections whose handshake is not complete.
    """

    def __init__(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        budget: HandshakeBudget,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._silent: PeerShares[_Pending] = PeerShares(budget.silent)
        self._agreeing: PeerShares[_Pending] = PeerShares(budget.agreeing)
        self._queued: PeerShares[_Pending] = PeerShares(budget.queued)
        self.dropped = 0
        """Connections that were dropped: no room, no first byte in time, or the port was closed."""

    def start(self, backlog: int) -> None:
        """Start listening."""
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stop accepting; drop connections whose handshake is not complete."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for group in (self._silent, self._queued, self._agreeing):
            for pending in group:
                self._drop(pending)

    async def wait_closed(self) -> None:
        """Return at once: the protocols close their own connections."""

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of file descriptors
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_RETRY_SECONDS, self._go_on)
                return
            connection.setblocking(False)
            self._await_begin(_Pending(connection, str(address[0])))

    def _go_on(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _await_begin(self, pending: _Pending) -> None:
        if self._silent.is_full:
            self._drop(self._silent.victim(lambda _: True, pending.peer) or pending)
        self._silent.add(pending, pending.peer)
        self._loop.add_reader(pending.connection, self._begin, pending)
        pending.timer = self._loop.call_later(TIMEOUT_SECONDS, self._drop, pending)

    def _begin(self, pending: _Pending) -> None:
        """Start the handshake, now that the client has sent something, or queue for it."""
        self._loop.remove_reader(pending.connection)
        self._silent.discard(pending)
        if self._agreeing.is_full:
            victim = self._agreeing.victim(lambda _: False, pending.peer)
            if victim is None:
                self._await_turn(pending)
                return
            self._drop(victim)
        self._agree_on(pending)

    def _await_turn(self, pending: _Pending) -> None:
        if self._queued.is_full:
            victim = self._queued.victim(lambda _: False, pending.peer)
            self._drop(victim or pending)
            if victim is None:
                return
        self._queued.add(pending, pending.peer)

    def _agree_on(self, pending: _Pending) -> None:
        self._queued.discard(pending)
        self._agreeing.add(pending, pending.peer)
        if pending.timer is not None:
            pending.timer.cancel()
        pending.task = self._loop.create_task(self._agree(pending))

    async def _agree(self, pending: _Pending) -> None:
        pending.is_handed_over = True
        try:
            with contextlib.suppress(OSError):  # TLS errors, too: the client may send anything
                await self._loop.connect_accepted_socket(
                    self._make_protocol,
                    pending.connection,
                    ssl=self._tls,
                    ssl_handshake_timeout=TIMEOUT_SECONDS,
                )
        finally:
            self._agreeing.discard(pending)
            if not self._agreeing.is_full and len(self._queued):
                self._agree_on(self._queued.next_of(self._agreeing))

    def _drop(self, pending: _Pending) -> None:
        self.dropped += 1
        if pending.timer is not None:
            pending.timer.cancel()
        for group in (self._silent, self._queued, self._agreeing):
            group.discard(pending)
        if pending.task is not None:
            pending.task.cancel()
        if not pending.is_handed_over and pending.connection.fileno() >= 0:
            self._loop.remove_reader(pending.connection)
            pending.connection.close()


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return the client's address; empty if it has disconnected already."""
    peer = transport.get_extra_info("peername")
    # An IPv6 socket reports IPv4 clients as `::ffff:10.0.0.1`.
    return str(peer[0]).removeprefix("::ffff:") if peer else ""

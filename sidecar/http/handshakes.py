"""A listening TLS port that silent and stalled clients cannot fill.

Asyncio's own server agrees on TLS with each connection at once and shows it to nobody before that
is done: it could neither be counted by client nor dropped. Here a connection first waits for the
client's first byte, which costs no more than a socket, then for its turn. Shared with the injector.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from sidecar.http.peers import PeerShares

TIMEOUT_SECONDS = 10.0
"""For a client to begin; and then for its handshake."""
_ACCEPTS_AT_ONCE = 16
"""So that between them is seen who has sent something."""
_RETRY_SECONDS = 1.0


class HandshakeBudget(NamedTuple):
    """Bounds of one port; clients share each by address."""

    silent: int = 256
    """Connections that have sent nothing."""
    agreeing: int = 64
    """Handshakes under way."""
    queued: int = 1_024
    """Connections that have begun and wait for their turn."""


class _Pending:
    """A connection before TLS is agreed on."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_handed_over = False
        """Whether the connection is a transport's, which closes it."""


class TlsPort:
    """Accepts connections, and hands each to a protocol once TLS is agreed on.

    Args:
        listener: a listening socket; it is closed with the port.
        tls: with the certificate that is served.
        make_protocol: makes the protocol of a connection.
        budget: bounds of what is not agreed on yet.
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
        """Connections that made room for others, or found none."""

    def start(self, backlog: int) -> None:
        """Listen."""
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Accept no more; drop what is not agreed on."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for group in (self._silent, self._queued, self._agreeing):
            for pending in group:
                self._drop(pending)

    async def wait_closed(self) -> None:
        """Return at once: connections are the protocols' own."""

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors are left
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
        """Agree on TLS, now that the client has sent something, or wait for a turn."""
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
            with contextlib.suppress(OSError):  # of TLS, too: whatever the client sent
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
    """Return the client's address; empty where it has gone already."""
    peer = transport.get_extra_info("peername")
    # An IPv6 socket has IPv4 clients as `::ffff:10.0.0.1`, which nobody calls them.
    return str(peer[0]).removeprefix("::ffff:") if peer else ""

"""A small HTTP/1.1 server on asyncio and httptools.

A general server and framework cost a pod 17 MB; this server has only what Livery needs.
"""

import asyncio
import contextlib
import ssl

from sidecar.http.handshakes import HandshakeBudget, TlsPort
from sidecar.http.listener import open_socket
from sidecar.http.messages import Handler
from sidecar.http.peers import PeerShares
from sidecar.http.server_connection import ServerConnection

HANDSHAKES = HandshakeBudget(silent=64, agreeing=32, queued=128)
_BACKLOG = 128


class Server:
    """One listening port and its connections.

    Args:
        handler: answers requests.
        max_connections: beyond it an idle connection is dropped, or one of a client that has more
            than its share; otherwise the new connection is refused with 503.
        keeps_bodies: whether the handler gets the bodies of requests; otherwise they are ignored.
    """

    def __init__(
        self, handler: Handler, *, max_connections: int = 32, keeps_bodies: bool = False
    ) -> None:
        self.handler = handler
        self.keeps_bodies = keeps_bodies
        self.connections: PeerShares[ServerConnection] = PeerShares(max_connections)
        self.is_draining = False
        self.unsent_bytes = 0
        """Bytes of responses that are being written."""
        self.gathered = 0
        """Streamed responses that are held in memory for HTTP/1.0 clients."""
        self._sockets: list[asyncio.Server | TlsPort] = []
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def dropped_handshakes(self) -> int:
        """Connections dropped before their TLS handshake was complete; see `TlsPort.dropped`."""
        return sum(port.dropped for port in self._sockets if isinstance(port, TlsPort))

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Start listening; return the port, which the system chooses for port 0.

        Args:
            host: an address; empty for all, IPv6 and IPv4.
            port: the port.
            tls: context with the server's certificate; None for plain HTTP.

        Raises:
            OSError: the port is in use, or not permitted.
        """
        listener = open_socket(host, port)
        if tls is None:
            loop = asyncio.get_running_loop()
            self._sockets.append(await loop.create_server(self._connect, sock=listener))
        else:
            port_with_tls = TlsPort(listener, tls, self._connect, HANDSHAKES)
            port_with_tls.start(_BACKLOG)
            self._sockets.append(port_with_tls)
        return int(listener.getsockname()[1])

    def _connect(self) -> asyncio.Protocol:
        return ServerConnection(self)

    async def drain(self, timeout_seconds: float) -> None:
        """Stop accepting requests, finish those in flight, and close."""
        self.is_draining = True
        for server in self._sockets:
            server.close()
        for connection in self.connections:
            connection.close_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._is_empty.wait()
        for connection in self.connections:
            connection.abort()

    def admit(self, connection: ServerConnection, peer: str) -> bool:
        """Add a new connection if there is room, or room can be made; return whether it was."""
        if self.connections.is_full:
            victim = self.connections.victim(lambda item: not item.is_busy, peer)
            if victim is None:
                return False
            self.connections.discard(victim)
            victim.abort()
        self.connections.add(connection, peer)
        self._is_empty.clear()
        return True

    def release(self, connection: ServerConnection) -> None:
        """Remove a closed connection."""
        self.connections.discard(connection)
        if not len(self.connections):
            self._is_empty.set()

"""TLS handshakes on a listening port, bounded in number and time, and fair by client.

Asyncio's own server shows a connection to nobody before TLS is agreed on, so that silent ones could
neither be counted by client nor dropped. Shared with the injector.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from sidecar.http.peers import PeerShares

HANDSHAKE_TIMEOUT_SECONDS = 10.0


class Handshakes:
    """Accepts TLS connections of one port.

    Args:
        tls: with the certificate that is served.
        make_protocol: makes the protocol of a connection on which TLS was agreed.
        limit: of handshakes under way; beyond, the oldest of the client with most is dropped.
    """

    def __init__(
        self, tls: ssl.SSLContext, make_protocol: Callable[[], asyncio.Protocol], limit: int
    ) -> None:
        self._tls = tls
        self._make_protocol = make_protocol
        self._under_way: PeerShares[_Handshake] = PeerShares(limit)
        self.dropped = 0
        """Handshakes that made room for others."""

    def __len__(self) -> int:
        """Handshakes under way."""
        return len(self._under_way)

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Handshake(self)

    def begin(self, handshake: "_Handshake", peer: str) -> None:
        """Count a handshake in."""
        if self._under_way.is_full:
            victim = self._under_way.victim(lambda _: True, peer)
            if victim is not None:
                self._under_way.discard(victim)
                self.dropped += 1
                victim.drop()
        self._under_way.add(handshake, peer)

    async def agree(self, handshake: "_Handshake", transport: asyncio.Transport) -> None:
        """Agree on TLS, and hand the connection to its protocol."""
        protocol = self._make_protocol()
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                transport,
                protocol,
                self._tls,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_SECONDS,
            )
        except (OSError, ssl.SSLError):
            encrypted = None
        finally:
            self._under_way.discard(handshake)
        if encrypted is None:
            transport.abort()
        else:
            protocol.connection_made(encrypted)


class _Handshake(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._handshakes.begin(self, peer_of(transport))
        # The task begins before anything is read: what arrives goes to TLS.
        self._task = asyncio.get_running_loop().create_task(
            self._handshakes.agree(self, self._transport)
        )

    def drop(self) -> None:
        self._transport.abort()


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return the client's address; empty where it has gone already."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""

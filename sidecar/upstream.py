"""Targets' bodies: fetched within a deadline and a budget of bytes, decoded, never more."""

import asyncio
import ssl
import zlib
from typing import NamedTuple

from sidecar import VERSION
from sidecar.client import Connection, render_request
from sidecar.errors import LimitError, UpstreamError, UpstreamTimeoutError
from sidecar.model.targets import Target

MAX_BODY_BYTES = 10 << 20
"""Decompressed bytes of one target."""
MAX_SCRAPE_BYTES = 24 << 20
"""Decompressed bytes of all targets of one scrape."""
_GZIP = 31
"""zlib's window bits for a gzip header."""


class Fetched(NamedTuple):
    """One target's answer."""

    body: bytes
    content_type: str


class Budget:
    """Bytes that may still be read; one for each target, one for the whole scrape."""

    def __init__(self, limit_bytes: int, what: str) -> None:
        self._left = limit_bytes
        self._sentence = f"more than {limit_bytes >> 20} MiB {what}"

    def take(self, count: int) -> None:
        """Use some of it up.

        Raises:
            LimitError: there is not so much left.
        """
        if count > self._left:
            raise LimitError(self._sentence)
        self._left -= count

    def give_back(self, count: int) -> None:
        """Leave to others what was taken in vain."""
        self._left += count


def scrape_budget() -> Budget:
    """The budget of one scrape."""
    return Budget(MAX_SCRAPE_BYTES, "from all targets in one scrape")


class TargetClient:
    """Fetches one target again and again, over one connection while that lasts."""

    def __init__(self, target: Target, pod_ip: str = "") -> None:
        self.target = target
        # An application may listen on one address family only, or on the pod's address only.
        own = [address for address in ("127.0.0.1", "::1", pod_ip) if address]
        self._addresses = [target.host.strip("[]")] if target.host else own
        self._tls = _loopback_tls() if target.scheme == "https" else None
        self._connection: Connection | None = None

    async def fetch(
        self, *, accept: str, query: str, timeout_seconds: float, budget: Budget
    ) -> Fetched:
        """Fetch the target's exposition.

        Args:
            accept: the Accept header to send.
            query: a query string to add to the target's own; empty for none.
            timeout_seconds: for the whole of it, connecting included.
            budget: the scrape's bytes.

        Raises:
            UpstreamTimeoutError: it took longer.
            UpstreamError: no connection, not HTTP, or a status other than 200.
            LimitError: the body is too large.
        """
        request = self._render(accept, query, timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._exchange(request, budget)
        except TimeoutError:
            self.close()
            raise UpstreamTimeoutError(f"no whole answer within {timeout_seconds:.3g} s") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _render(self, accept: str, query: str, timeout_seconds: float) -> bytes:
        path = self.target.path
        if query:
            path += ("&" if "?" in path else "?") + query
        headers = {
            "Host": f"{self.target.host or 'localhost'}:{self.target.port}",
            "User-Agent": f"livery-proxy/{VERSION}",
            "Accept": accept,
            # On loopback compressing costs the application more than it saves anyone.
            "Accept-Encoding": "identity",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_seconds:.3f}",
        }
        return render_request("GET", path, headers)

    async def _exchange(self, request: bytes, budget: Budget) -> Fetched:
        connection = await self._send(request)
        if connection.status != 200:
            raise UpstreamError(_refusal(connection))
        encoding = connection.headers.get("content-encoding", "identity").lower()
        body = await _read_body(connection, encoding, budget)
        if not connection.is_reusable:
            self.close()
        return Fetched(body, connection.headers.get("content-type", ""))

    async def _send(self, request: bytes) -> Connection:
        kept = self._connection
        if kept is not None and kept.is_reusable:
            try:
                await kept.send(request)
                return kept
            except UpstreamError:
                # The application closed it while it was idle: not its fault, nor a failed scrape.
                if kept.has_answered:
                    raise
        connection = self._connection = await self._connect()
        await connection.send(request)
        return connection

    async def _connect(self) -> Connection:
        failures = []
        for address in self._addresses:
            try:
                connection = await Connection.open(address, self.target.port, tls=self._tls)
            except UpstreamError as error:
                failures.append(str(error))
                continue
            # The address that answered is tried first from now on.
            self._addresses.sort(key=lambda item: item != address)
            return connection
        raise UpstreamError("; ".join(failures))


async def _read_body(connection: Connection, encoding: str, scrape: Budget) -> bytes:
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise UpstreamError(f"the answer's content encoding {encoding[:40]!r} is not known")
    body = bytearray()
    try:
        await _read_into(body, connection, encoding, scrape)
    except BaseException:
        scrape.give_back(len(body))
        raise
    return bytes(body)


async def _read_into(
    body: bytearray, connection: Connection, encoding: str, scrape: Budget
) -> None:
    target = Budget(MAX_BODY_BYTES, "from one target")
    decoder = zlib.decompressobj(_GZIP) if encoding != "identity" else None
    while part := await connection.read():
        pending = part
        while pending:
            if decoder is None:
                plain, pending = pending, b""
            else:
                # A little at a time: a bomb is noticed before it has gone off.
                plain, pending = _inflate(decoder, pending)
            target.take(len(plain))
            scrape.take(len(plain))
            body += plain
    if decoder is not None and not decoder.eof:
        raise UpstreamError("the gzip body broke off")


def _inflate(decoder: "zlib._Decompress", data: bytes) -> tuple[bytes, bytes]:
    try:
        plain = decoder.decompress(data, 1 << 18)
    except zlib.error as error:
        raise UpstreamError(f"the gzip body is damaged: {error}") from error
    if decoder.unused_data:
        raise UpstreamError("there is data behind the gzip body")
    return plain, decoder.unconsumed_tail


def _refusal(connection: Connection) -> str:
    if 300 <= connection.status < 400:
        return f"answered {connection.status}; redirects are not followed"
    return f"answered {connection.status}"


def _loopback_tls() -> ssl.SSLContext:
    # Within one pod there is no one to impersonate the application but the pod itself.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

"""Fetches and decodes targets' bodies, within a timeout and a budget of bytes."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sidecar import VERSION
from sidecar.errors import LimitError, UpstreamError, UpstreamTimeoutError
from sidecar.http.connection import BROKE, Connection, render_request
from sidecar.http.decoding import Decoder
from sidecar.http.origins import REDIRECTS, Origin
from sidecar.http.pool import ConnectionPool
from sidecar.http.system_errors import ConnectError, join_failures
from sidecar.http.tls import unverified_context
from sidecar.model.hosts import bracket
from sidecar.model.targets import Target

MAX_REDIRECTS = 5
_PART_BYTES = 32
"""Bytes counted per part of a body in addition to its own: even a one-byte chunk takes work."""
_FRAMING_BYTES = 1 << 20
_ASKS_FOR_CREDENTIALS = (401, 403, 407)
_BAD_REQUEST = 400
_HINTS = {
    "http": "; if it speaks TLS, annotate the pod with prometheus.io/scheme: https",
    "https": "; if it speaks no TLS, annotate the pod with prometheus.io/scheme: http",
}
"""Likely fix, by scheme, if a connection breaks off."""
CREDENTIALS_HINT = (
    "to pass on the scraper's credentials, annotate the pod with "
    "livery.dev/pass-headers: Authorization"
)


class Fetched(NamedTuple):
    """One target's response."""

    body: bytes
    content_type: str


class Bytes(Protocol):
    """A budget of bytes for a body."""

    def take(self, count: int) -> bool:
        """Consume bytes; returns False if `wait` must be called instead.

        Raises:
            LimitError: not enough bytes are left.
        """

    async def wait(self, count: int) -> None:
        """Wait until the bytes are available, and consume them."""

    def give_back(self, count: int) -> None:
        """Return the bytes of a failed fetch to the budget."""


class Budget:
    """Bytes that may still be read: one budget for each target, one for the whole scrape."""

    def __init__(self, limit_bytes: int, what: str) -> None:
        self._left = limit_bytes
        self._sentence = f"more than {limit_bytes >> 20} MiB {what}"

    def take(self, count: int) -> bool:
        """Consume bytes; always returns True.

        Raises:
            LimitError: not enough bytes are left.
        """
        if count > self._left:
            raise LimitError(self._sentence)
        self._left -= count
        return True

    async def wait(self, count: int) -> None:
        """Do what `take` does."""
        self.take(count)

    def give_back(self, count: int) -> None:
        """Return the bytes of a failed fetch to the budget."""
        self._left += count


class Question(NamedTuple):
    """What varies between requests to a target."""

    accept: str
    """The Accept header."""
    query: str = ""
    """A query string to add to the target's own."""
    passed: Sequence[tuple[str, str]] = ()
    """Headers of the scraper's request that are passed to the target."""


class TargetClient:
    """Fetches one target repeatedly, over a connection that is kept open.

    Args:
        target: the target to fetch.
        pod_ip: IP of the target's pod; empty if it is not known.
        limit_bytes: maximum size of its body, decompressed.
        addresses: addresses in the order in which they are tried; by default the target's own
            host, or loopback and the pod's address.
        credentials_hint: what to do if the target asks for credentials.
    """

    def __init__(
        self,
        target: Target,
        pod_ip: str,
        limit_bytes: int,
        *,
        addresses: Sequence[str] = (),
        credentials_hint: str = CREDENTIALS_HINT,
    ) -> None:
        self.target = target
        self._limit_bytes = limit_bytes
        self._credentials_hint = credentials_hint
        # The `Host` that Prometheus would send without a proxy: some applications check it.
        host = target.host or bracket(pod_ip) or "localhost"
        self._origin = Origin(target.scheme, host, target.port)
        # An application may listen on one address family only, or on the pod's address only.
        own = [address for address in ("127.0.0.1", "::1", pod_ip) if address]
        self._addresses = list(addresses) or ([target.host.strip("[]")] if target.host else own)
        # Unverified: within one pod, only the pod itself can impersonate the application.
        self._tls = unverified_context() if target.scheme == "https" else None
        self._pool = ConnectionPool(self._connect, max_idle=1)
        self._is_connecting = False

    async def fetch(self, question: Question, timeout_seconds: float, budget: Bytes) -> Fetched:
        """Fetch the target's exposition; redirects within its own origin are followed.

        Args:
            question: what to request.
            timeout_seconds: for the whole fetch, including connecting.
            budget: the scrape's budget of bytes.

        Raises:
            UpstreamTimeoutError: it took longer.
            UpstreamError: no connection, not HTTP, or a status other than 200.
            LimitError: the body is too large.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._follow(question, timeout_seconds, budget)
        except TimeoutError:
            hint = _HINTS["https"] if self._is_connecting and self._tls is not None else ""
            raise UpstreamTimeoutError(
                f"no complete response within {timeout_seconds:.3g} s{hint}"
            ) from None

    def close(self) -> None:
        """Drop the connection."""
        self._pool.close()

    async def _follow(self, question: Question, timeout_seconds: float, budget: Bytes) -> Fetched:
        path = self.target.path
        if question.query:
            path += ("&" if "?" in path else "?") + question.query
        for _ in range(1 + MAX_REDIRECTS):
            request = self._render(path, question, timeout_seconds)
            connection = await self._send(request)
            try:
                if connection.status not in REDIRECTS:
                    return await self._read(connection, question, budget)
                path = self._origin.follow(path, connection.headers.get("location", ""))
            finally:
                self._pool.release(connection)
        raise UpstreamError(f"more than {MAX_REDIRECTS} redirects; the last one is to {path[:200]}")

    async def _send(self, request: bytes) -> Connection:
        try:
            return await self._pool.send(request)
        except UpstreamError as error:
            if not str(error).startswith(BROKE):
                raise
            raise UpstreamError(f"{error}{_HINTS[self.target.scheme]}") from error

    def _refusal(self, status: int, question: Question) -> str:
        if status == _BAD_REQUEST and self.target.scheme == "http":
            return f"answered {status}{_HINTS['http']}"
        if status not in _ASKS_FOR_CREDENTIALS:
            return f"answered {status}"
        if any(name.lower() == "authorization" for name, _ in question.passed):
            return f"answered {status} to the credentials that the scraper sent"
        return f"answered {status} to a scrape without credentials; {self._credentials_hint}"

    def _render(self, path: str, question: Question, timeout_seconds: float) -> bytes:
        headers = {
            "Host": self._origin.authority,
            "User-Agent": f"livery-proxy/{VERSION}",
            "Accept": question.accept,
            # On loopback, compression costs the application more than it saves.
            "Accept-Encoding": "identity",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_seconds:.3f}",
        }
        headers.update(question.passed)
        return render_request("GET", path, headers)

    async def _read(self, connection: Connection, question: Question, scrape: Bytes) -> Fetched:
        if connection.status != 200:
            raise UpstreamError(self._refusal(connection.status, question))
        decoder = Decoder(connection.headers.get("content-encoding", ""))
        body = bytearray()
        try:
            await self._read_into(body, connection, decoder, scrape)
        except BaseException:
            scrape.give_back(len(body))
            raise
        return Fetched(bytes(body), connection.headers.get("content-type", ""))

    async def _read_into(
        self, body: bytearray, connection: Connection, decoder: Decoder, scrape: Bytes
    ) -> None:
        target = Budget(self._limit_bytes, "from one target")
        framing = Budget(self._limit_bytes + _FRAMING_BYTES, "from one target, with its framing")
        while part := await connection.read():
            framing.take(len(part) + _PART_BYTES)
            for plain in decoder.decode(part):
                target.take(len(plain))
                if not scrape.take(len(plain)):
                    await scrape.wait(len(plain))
                body += plain
        decoder.finish()

    async def _connect(self) -> Connection:
        failures: list[ConnectError] = []
        self._is_connecting = True
        for address in self._addresses:
            try:
                connection = await Connection.open(address, self.target.port, tls=self._tls)
            except ConnectError as error:
                failures.append(error)
                continue
            # The address that answered is tried first from now on.
            self._addresses.sort(key=lambda item: item != address)
            self._is_connecting = False
            return connection
        self._is_connecting = False
        raise UpstreamError(join_failures(failures))

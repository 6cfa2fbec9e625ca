"""One receiver: sends requests to it, with limits on time and on what it answers."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from sidecar import VERSION
from sidecar.errors import LiveryError, UpstreamError
from sidecar.forward.addresses import Reach, connect
from sidecar.http.connection import Connection, render_request
from sidecar.http.pool import ConnectionPool
from sidecar.http.tls import client_context
from sidecar.model.hosts import bracket
from sidecar.model.policy.forward import ReceiverAddress
from sidecar.model.policy.secret import Credentials

TIMEOUT_SECONDS = 30.0
TEXT_SECONDS = 2.0
"""Time limit for the response's body, after its status."""
MAX_ANSWER_BYTES = 8 << 10
MAX_RETRY_AFTER_SECONDS = 300.0
_TOO_MANY = 429


class Answer(NamedTuple):
    """A receiver's response."""

    status: int
    text: str
    retry_after_seconds: float

    @property
    def is_success(self) -> bool:
        """Whether the receiver accepted the request."""
        return self.status // 100 == 2

    @property
    def may_be_retried(self) -> bool:
        """Whether the receiver may accept the same request later."""
        return self.status < 200 or self.status == _TOO_MANY or self.status >= 500

    @property
    def sentence(self) -> str:
        """The status and the first line of the text, as an error message."""
        line = self.text.strip().partition("\n")[0][:200]
        shown = "".join(char if char.isprintable() else " " for char in line)
        said = f"it answered {self.status}" + (f": {shown}" if shown else "")
        return said + ("; redirects are not followed" if self.status // 100 == 3 else "")


class Receiver:
    """A server that samples are sent to.

    Args:
        address: its address and settings.
        credentials: values of the credentials that the address names.
        reach: which IP addresses may be connected to.
        resolve: returns the addresses of a name.
        connections: maximum number of idle connections that are kept.
    """

    def __init__(
        self,
        address: ReceiverAddress,
        credentials: Credentials,
        reach: Reach,
        *,
        resolve: Callable[[str], Awaitable[Sequence[str]]],
        connections: int = 1,
    ) -> None:
        self._address = address
        self._reach = reach
        self._resolve = resolve
        self._secrets = credentials
        self.fault = self._find_fault()
        """Why it cannot be used: a credential is missing or invalid; empty if it can be used."""
        self._pool = ConnectionPool(self._connect, connections)

    @property
    def place(self) -> tuple[str, int, str]:
        """Its identity: a receiver at the same place with other settings takes over the queue."""
        return self._address.host, self._address.port, self._address.path

    @property
    def url(self) -> str:
        """Its URL for messages, without the query."""
        address = self._address
        scheme = "http" if address.tls is None else "https"
        return f"{scheme}://{bracket(address.host)}:{address.port}{address.path.partition('?')[0]}"

    async def ask(
        self, method: str, behind: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Send a request and read the response.

        Args:
            method: HTTP method.
            behind: path to append to the receiver's path.
            headers: headers in addition to the receiver's own.
            body: body of the request.

        Raises:
            UpstreamError: the receiver has a fault, cannot be reached, or the connection breaks.
            TimeoutError: the receiver does not answer in time.
        """
        address = self._address
        if self.fault:
            raise UpstreamError(self.fault)
        path = (address.path + behind) or "/"
        request = render_request(method, path, {**self._headers, **headers}, body)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            connection = await self._pool.send(request)
        try:
            text = await _read_text(connection)
            delay = read_delay(connection.headers.get("retry-after", ""))
            return Answer(connection.status, self._without_secrets(text), delay)
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        """Drop the connections."""
        self._pool.close()

    def _find_fault(self) -> str:
        missing = sorted(self._address.credentials - self._secrets.keys())
        if missing:
            return f"missing keys of Secrets: {', '.join(missing)}"
        try:
            _ = self._headers, self._tls
        except UpstreamError as error:
            return str(error)
        return ""

    @cached_property
    def _headers(self) -> Mapping[str, str]:
        address = self._address
        headers = {
            "Host": f"{bracket(address.host)}:{address.port}",
            "User-Agent": f"livery-proxy/{VERSION}",
            **dict(address.headers),
        }
        if address.bearer_token:
            token = self._secrets[address.bearer_token].text.strip()
            headers["Authorization"] = f"Bearer {_header_value(token)}"
        elif address.username or address.password:
            password = self._secrets[address.password].text if address.password else ""
            # A Secret made from a file often ends with a newline.
            pair = address.username + ":" + password.rstrip("\r\n")
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers

    def _without_secrets(self, text: str) -> str:
        """Mask credentials that a receiver repeats in its response: people read it."""
        for secret in self._shown_nowhere:
            text = text.replace(secret, "***")
        return text

    @cached_property
    def _shown_nowhere(self) -> Sequence[str]:
        address = self._address
        names = {address.bearer_token, address.password} - {""}
        values = {self._secrets[name].text.strip() for name in names}
        sent = self._headers.get("Authorization", "").rpartition(" ")[2]
        encoded = {base64.b64encode(value.encode()).decode() for value in values}
        secrets = {sent, *values, *encoded}
        shown = {form for secret in secrets for form in _escapings(secret)}
        return sorted(filter(None, shown), key=len, reverse=True)

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        tls = self._address.tls
        if tls is None:
            return None
        text = {
            name: self._secrets[name].text for name in (tls.ca, tls.certificate, tls.key) if name
        }
        try:
            return client_context(
                ca_pem=text.get(tls.ca, ""),
                certificate_pem=text.get(tls.certificate, ""),
                key_pem=text.get(tls.key, ""),
                is_verifying=not tls.skips_verification,
            )
        except (ssl.SSLError, ValueError, OSError) as error:
            reason = getattr(error, "reason", "") or type(error).__name__
            raise UpstreamError(f"its tlsConfig cannot be used: {reason}") from None

    async def _connect(self) -> Connection:
        address, tls = self._address, self._address.tls
        name = tls.server_name if tls else ""
        context = self._tls
        found = await self._resolve(address.host)
        return await connect(
            address.host, found, address.port, self._reach, tls=context, server_name=name
        )


async def _read_text(connection: Connection) -> str:
    """Read the response's text as far as it arrives: the status alone decides the outcome."""
    said = bytearray()
    with contextlib.suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(TEXT_SECONDS):
            while len(said) < MAX_ANSWER_BYTES and (part := await connection.read()):
                said += part
    return said[:MAX_ANSWER_BYTES].decode(errors="replace")


def _escapings(text: str) -> Iterator[str]:
    """Yield a text, and its forms when escaped for JSON, HTML and URLs."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    for marks in (("&#34;", "&#39;"), ("&quot;", "&#x27;"), ("&quot;", "'")):
        page = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield page.replace('"', marks[0]).replace("'", marks[1])
    yield quote(text, safe="")
    yield quote(text)
    yield quote_plus(text)


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise UpstreamError("the bearer token contains characters that a header may not")
    return text


def read_delay(retry_after: str) -> float:
    """Return the delay that a Retry-After header asks for, in seconds; 0 for none."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)


def explain_failure(error: BaseException) -> str:
    """Describe why there is no response."""
    if isinstance(error, LiveryError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no response within {TIMEOUT_SECONDS:g} s"
    return f"{type(error).__name__}: {error}"[:200]

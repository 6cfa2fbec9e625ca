"""One Prometheus backend: its connections and its health."""

import asyncio
import base64
import logging
import ssl
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sidecar import VERSION
from sidecar.errors import SettingsError, UpstreamError
from sidecar.gateway.parameters import FORM
from sidecar.gateway.questions import Question
from sidecar.http.connection import Connection, render_request
from sidecar.http.pool import ConnectionPool
from sidecar.http.secrets import read_secret, read_token
from sidecar.http.system_errors import ConnectError
from sidecar.http.tls import CaFile
from sidecar.model.hosts import bracket

logger = logging.getLogger(__name__)

MAX_IDLE = 32
CONNECT_TIMEOUT_SECONDS = 3.0
CHECK_TIMEOUT_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


class BackendSettings(NamedTuple):
    """How to connect to backends."""

    ca_file: Path | None = None
    """CAs of their certificates; None for the system's."""
    token_file: Path | None = None
    basic: tuple[str, Path] | None = None
    """A user, and a file with its password."""


class Backend:
    """One Prometheus backend.

    Args:
        url: its base URL, which may have a path.
        settings: how to connect to it.

    Raises:
        SettingsError: the URL is invalid.
    """

    def __init__(self, url: str, settings: BackendSettings) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        is_plain = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in _PORTS or not host or not is_plain or parts.query or parts.username:
            raise SettingsError(
                f"backend {url[:200]!r} is not http://host:port or https://host:port"
            )
        if parts.path.rstrip("/").endswith("/api/v1"):
            raise SettingsError(f"backend {url[:200]!r}: leave out /api/v1, which is added")
        self.url = url
        self._host, self._port = host, port or _PORTS[parts.scheme]
        self._prefix = parts.path.rstrip("/")
        self._settings = settings
        self._trust = CaFile(settings.ca_file) if parts.scheme == "https" else None
        self._pool = ConnectionPool(self._connect, MAX_IDLE)
        self._fault = ""
        """The last error about the gateway's own files, so that it is logged once."""
        self.error = ""
        """Why it is unhealthy; empty if it is healthy."""
        self.seen_at: float | None = None
        """When it last answered, as Unix time."""

    @property
    def is_up(self) -> bool:
        """Whether it is healthy."""
        return not self.error

    async def send(self, question: Question, *, takes_gzip: bool) -> Connection:
        """Send a question; return the connection, to be released, once the head has arrived.

        Raises:
            UpstreamError: it does not answer.
        """
        try:
            connection = await self._pool.send(self._render(question, takes_gzip=takes_gzip))
        except UpstreamError as error:
            self.error = str(error)
            raise
        if connection.status < 400:
            self.error = ""
        self.seen_at = time.time()
        return connection

    def release(self, connection: Connection) -> None:
        """Return a connection to the pool, whether or not its response was read."""
        self._pool.release(connection)

    async def check(self) -> None:
        """Check whether it is ready."""
        question = Question("GET", "/-/ready", "")
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                connection = await self.send(question, takes_gzip=False)
                try:
                    status = connection.status
                    while await connection.read():
                        pass
                finally:
                    self.release(connection)
            self.error = "" if status == 200 else f"/-/ready answered {status}"
        except TimeoutError:
            self.error = f"/-/ready did not answer within {CHECK_TIMEOUT_SECONDS:g} s"
        except UpstreamError as error:
            self.error = str(error)

    def close(self) -> None:
        """Drop the connections."""
        self._pool.close()

    def _render(self, question: Question, *, takes_gzip: bool) -> bytes:
        headers = {
            "Host": f"{bracket(self._host)}:{self._port}",
            "User-Agent": f"livery-gateway/{VERSION}",
            "Accept-Encoding": "gzip" if takes_gzip else "identity",
        }
        if question.accept:
            headers["Accept"] = question.accept
        authorization = self._authorization()
        if authorization:
            headers["Authorization"] = authorization
        path = f"{self._prefix}{question.path}"
        if question.method == "GET":
            target = f"{path}?{question.form}" if question.form else path
            return render_request("GET", target, headers)
        headers["Content-Type"] = FORM
        return render_request("POST", path, headers, question.form.encode("ascii"))

    def _authorization(self) -> str:
        try:
            return read_authorization(self._settings)
        except UpstreamError as error:
            raise self._own_fault("the gateway's credentials for Prometheus", error) from error

    def _own_fault(self, what: str, error: Exception) -> UpstreamError:
        """Log an error about the gateway's own files; return one for tenants without details."""
        if str(error) != self._fault:
            self._fault = str(error)
            logger.error("%s cannot be read", what, extra={"reason": str(error)})
        return UpstreamError(f"{what} cannot be read; see the gateway's log")

    async def _connect(self) -> Connection:
        tls: ssl.SSLContext | None = None
        if self._trust is not None:
            try:
                tls = self._trust.context()
            except OSError as error:
                raise self._own_fault("the CA file for Prometheus", error) from error
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                return await Connection.open(
                    self._host, self._port, tls=tls, server_name=self._host
                )
        except TimeoutError:
            reason = f"no connection within {CONNECT_TIMEOUT_SECONDS:g} s"
            raise ConnectError(self._host, self._port, reason) from None


def read_authorization(settings: BackendSettings) -> str:
    """Return the Authorization header for backends; empty if no credentials are configured.

    Raises:
        UpstreamError: the token or password cannot be read.
    """
    if settings.token_file is not None:
        return f"Bearer {read_token(settings.token_file, 'the token')}"
    if settings.basic is not None:
        user, file = settings.basic
        pair = f"{user}:{read_secret(file, 'the password')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return ""

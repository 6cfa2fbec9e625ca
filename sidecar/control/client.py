"""Client of the policy stream: connects, applies policies, keeps the last good one, retries.

Source: design "Policy, identity, certificates"; the other end is `injector.web.control`.
"""

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Generic, TypeVar
from urllib.parse import urlencode, urlsplit

from sidecar import VERSION
from sidecar.control.receivers import PolicyReceiver
from sidecar.control.settings import ControlSettings
from sidecar.errors import LiveryError, PolicyError, SettingsError, UpstreamError
from sidecar.http.connection import Connection, render_request
from sidecar.http.secrets import read_token
from sidecar.http.tls import CaFile, trusting_context
from sidecar.model.policy.document import MAX_POLICY_BYTES

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 10.0
SILENCE_TIMEOUT_SECONDS = 45.0
"""Three missed pings: the connection is dead although it was not closed."""
FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 30.0
STABLE_SECONDS = 10.0
"""A connection that lasted this long resets the backoff."""
REPORT_INTERVAL_SECONDS = 60.0
REPORT_DELAY_SECONDS = 2.0
"""Changes in quick succession, such as a policy and the next scrape, share a report."""
MAX_ANSWER_BYTES = 64 << 10
MAX_VERSION_CHARACTERS = 64
P = TypeVar("P")


class ControlClient(Generic[P]):
    """Keeps the policy stream open and passes every new policy on.

    Args:
        settings: location of the control service.
        receiver: builds policies from the stream's messages.
        apply: called with each policy.

    Raises:
        SettingsError: the service's URL or CA cannot be used.
    """

    def __init__(
        self,
        settings: ControlSettings,
        receiver: PolicyReceiver[P],
        apply: Callable[[P], None],
    ) -> None:
        self._settings = settings
        self._receiver = receiver
        self._apply = apply
        self._host, self._port = _split_url(settings.url)
        own = (settings.address, self._host)
        self._addresses = list(dict.fromkeys(address for address in own if address))
        self._ca_bundle = settings.ca_bundle
        # A CA file is read when it is needed: it may not exist yet.
        file = settings.ca_file
        self._ca_file = None if file is None else CaFile(file)
        self._tls = _trust(settings.ca_bundle) if file is None else None
        self._report_due = asyncio.Event()
        self.version = ""
        """Version of the active policy; empty to request the whole policy."""
        self.is_connected = False
        self.confirmed_at: float | None = None
        """Monotonic time of the control service's last message."""
        self.current_at: float | None = None
        """Monotonic time at which the active policy was last known to be current."""
        self._is_current = False
        self.failures = 0
        self.rejected = 0
        """Policies that could not be used, in whole or in part."""
        self.last_error = ""
        """Reason for the last failure of the stream."""
        self.policy_error = ""
        """What could not be used of the last policy; empty if all of it is active."""
        self.ignored: tuple[str, ...] = ()
        """Fields and keys of the last policy that this proxy does not know."""

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(None) as deadline:
                    await self._follow(deadline)
            except (LiveryError, TimeoutError, OSError) as error:
                self.failures += 1
                self.last_error = str(error) or _explain_silence(error)
                logger.warning("the policy stream failed", extra={"reason": self.last_error})
            self.is_connected = False
            if time.monotonic() - started > STABLE_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            # Jitter: thousands of proxies may lose a replica at the same moment.
            await asyncio.sleep(random.uniform(backoff / 2, backoff))
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    async def run_reports(self, report: Callable[[], dict[str, object]]) -> None:
        """Report to the control service on change, at most once a minute.

        While a rule forwards samples, there is always a change.
        """
        while True:
            await self._report_due.wait()
            await asyncio.sleep(REPORT_DELAY_SECONDS)
            self._report_due.clear()
            try:
                said = report()
                if said.get("sending"):
                    self.changed()
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    await self._post("/v1/report", said)
            except (LiveryError, TimeoutError, OSError) as error:
                logger.debug("a report was not sent", extra={"reason": str(error)})
                self.changed()
            await asyncio.sleep(REPORT_INTERVAL_SECONDS)

    async def ask(self, question: dict[str, object]) -> dict[str, object]:
        """Ask the control service to review a token; returns its answer.

        Raises:
            UpstreamError: it cannot be reached, refuses, or does not return a JSON object.
        """
        found = _read_object(await self._post("/v1/authenticate", question))
        if found is None:
            raise UpstreamError("the control service's answer is not a JSON object")
        return found

    def changed(self) -> None:
        """Note that there is something new to report."""
        self._report_due.set()

    async def _follow(self, deadline: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        deadline.reschedule(loop.time() + CONNECT_TIMEOUT_SECONDS)
        connection = await self._open()
        self._receiver.begin()
        self._is_current = False
        try:
            query = urlencode({"role": self._settings.role, "version": self.version})
            status = await connection.send(self._request("GET", f"/v1/policy?{query}"))
            if status != 200:
                raise UpstreamError(
                    f"the control service answered {status}: {await _text(connection)}"
                )
            self.is_connected = True
            async for line in _lines(connection):
                deadline.reschedule(loop.time() + SILENCE_TIMEOUT_SECONDS)
                self.confirmed_at = time.monotonic()
                self._take(line)
                if self._is_current:
                    self.current_at = self.confirmed_at
        finally:
            connection.close()

    def _take(self, line: bytes) -> None:
        message = _read_object(line)
        if message is None:
            # Without this line, what follows may be incomplete: request the whole policy again,
            # which also clears this error.
            self.version = ""
            reason = "the control service sent a line that is not a JSON object"
            self._reject(reason)
            raise UpstreamError(reason)
        kind = str(message.get("type"))
        if kind == "authorities":
            self._take_ca_bundle(message.get("pem"))
        else:
            self._take_policy(kind, message)
        # `ping` and messages that newer services may add need no action.

    def _take_policy(self, kind: str, message: Mapping[str, object]) -> None:
        try:
            received = self._receiver.take(kind, message)
        except PolicyError as error:
            self._is_current = False
            self._reject(str(error))
            return
        if received is None:
            # `current` confirms that the active policy is the control service's latest.
            self._is_current |= kind == "current"
            return
        try:
            self._apply(received.policy)
        except Exception:
            # After the supervisor restarts this task, it must request the whole policy again.
            self.version = ""
            self._receiver.forget()
            raise
        self._is_current = True
        self.version = _read_version(message.get("version"))
        logger.info("policy active", extra={"version": self.version})
        self._note_ignored(received.ignored)
        if received.problems:
            self._reject("; ".join(received.problems))
        else:
            self.policy_error = ""
            self.changed()

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        self.policy_error = reason
        self.changed()
        text = "a policy cannot be used in full; its unusable parts stay as they were before"
        logger.error(text, extra={"reason": reason})

    def _note_ignored(self, ignored: tuple[str, ...]) -> None:
        if ignored and ignored != self.ignored:
            text = "the control service is newer: unknown fields of the policy are ignored"
            logger.warning(text, extra={"fields": list(ignored)})
        self.ignored = ignored

    def _take_ca_bundle(self, pem: object) -> None:
        if not isinstance(pem, str) or pem == self._ca_bundle:
            return
        if self._ca_file is not None:
            return  # the file takes precedence, and is reloaded when it changes
        try:
            self._tls = _trust(pem)
        except SettingsError as error:
            logger.error("new CA certificates cannot be used", extra={"reason": str(error)})
            return
        self._ca_bundle = pem

    async def _post(self, path: str, document: dict[str, object]) -> bytes:
        """Send a document over a new connection; returns the response's body."""
        connection = await self._open()
        try:
            body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
            status = await connection.send(self._request("POST", path, body))
            if status not in (200, 204):
                reason = await _text(connection)
                raise UpstreamError(f"the control service answered {status}: {reason}")
            answer = bytearray()
            while part := await connection.read():
                answer += part
                if len(answer) > MAX_ANSWER_BYTES:
                    raise UpstreamError("the control service's answer is too long")
            return bytes(answer)
        finally:
            connection.close()

    async def _open(self) -> Connection:
        """Connect to the address that worked last, else to the others.

        If the Service was recreated, its name still resolves while its old address is invalid.

        Raises:
            UpstreamError: no address reaches the control service; the message says why.
        """
        failures: list[str] = []
        for address in tuple(self._addresses):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS / 3):
                    connection = await Connection.open(
                        address, self._port, tls=self._context(), server_name=self._host
                    )
            except (UpstreamError, TimeoutError) as error:
                failures.append(str(error) or f"{address} does not answer")
                continue
            self._addresses.sort(key=lambda item: item != address)
            return connection
        raise UpstreamError("; ".join(failures))

    def _context(self) -> ssl.SSLContext | None:
        if self._ca_file is None:
            return self._tls
        try:
            return self._ca_file.context()
        except OSError as error:
            raise UpstreamError(f"the control service's CA cannot be read: {error}") from error

    def _request(self, method: str, target: str, body: bytes = b"") -> bytes:
        # Read each time: the kubelet renews it after four fifths of its lifetime.
        token = read_token(self._settings.token_file, "the token for the control service")
        headers = {
            "Host": f"{self._host}:{self._port}",
            "User-Agent": f"livery-proxy/{VERSION}",
            "Authorization": f"Bearer {token}",
        }
        if body:
            headers["Content-Type"] = "application/json"
        return render_request(method, target, headers, body)


def _read_object(text: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_version(value: object) -> str:
    """Return a version that can be sent back; else empty, which requests the whole policy."""
    is_good = isinstance(value, str) and value.isascii() and len(value) <= MAX_VERSION_CHARACTERS
    return str(value) if is_good else ""


def _split_url(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    if host is None or parts.scheme != "https":
        raise SettingsError(f"LIVERY_CONTROL_URL={url[:200]!r} is not https://host:port")
    return host, port


def _explain_silence(error: BaseException) -> str:
    """Describe an error that has no message of its own."""
    if isinstance(error, TimeoutError):
        return "the control service sent nothing in time"
    return f"the connection to the control service ended ({type(error).__name__})"


def _trust(pem: str) -> ssl.SSLContext:
    try:
        return trusting_context(pem)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(f"the control service's CA is not PEM: {error}") from error


async def _lines(connection: Connection) -> AsyncIterator[bytes]:
    buffer = bytearray()
    while part := await connection.read():
        *lines, rest = part.split(b"\n")
        for line in lines:
            yield bytes(buffer + line)
            buffer.clear()
        buffer += rest
        if len(buffer) > MAX_POLICY_BYTES:
            raise UpstreamError(f"a message is larger than {MAX_POLICY_BYTES} bytes")


async def _text(connection: Connection) -> str:
    return (await connection.read())[:200].decode(errors="replace").strip()

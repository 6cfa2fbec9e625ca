"""A group of Prometheus replicas with the same series: any of them can answer a query."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sidecar.errors import SettingsError, UpstreamError
from sidecar.gateway.backends.backend import Backend, BackendSettings
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import JSON, Cause, Refusal
from sidecar.http.connection import Connection
from sidecar.http.system_errors import ConnectError

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
RESEND_SECONDS = 1.0
"""A query whose connection broke after a longer time is not sent to another backend."""


class Asked(NamedTuple):
    """A response whose head has arrived."""

    backend: Backend
    connection: Connection


class BackendGroup:
    """Replicas that are queried in turn; one that does not answer is skipped.

    Args:
        settings: how to connect to all of them.
        timeout_seconds: time limit until a response begins.
        on_change: called when the backends or their health change.
        on_answer: called with the URL and status of each response.
    """

    def __init__(
        self,
        settings: BackendSettings,
        timeout_seconds: float,
        on_change: Callable[[], None] = lambda: None,
        on_answer: Callable[[str, int], None] = lambda _url, _status: None,
    ) -> None:
        self._settings = settings
        self._on_answer = on_answer
        self.backends: list[Backend] = []
        self._timeout_seconds = timeout_seconds
        self._on_change = on_change
        self._turn = 0

    def use(self, urls: Iterable[str]) -> list[str]:
        """Replace the backends; return why some of the new ones cannot be used.

        Responses in flight from removed backends are still completed.
        """
        known = {backend.url: backend for backend in self.backends}
        problems: list[str] = []
        kept: list[Backend] = []
        for url in dict.fromkeys(urls):
            try:
                kept.append(known.pop(url) if url in known else Backend(url, self._settings))
            except SettingsError as error:
                problems.append(str(error))
        for backend in known.values():
            backend.close()
        self.backends = kept
        return problems

    def replicas(self, count: int) -> list[Backend]:
        """Return at most `count` healthy backends."""
        return [backend for backend in self._in_turn() if backend.is_up][:count]

    async def ask(
        self, question: Question, *, takes_gzip: bool, among: Sequence[Backend] | None = None
    ) -> Asked:
        """Try one backend after another until a response begins: queries are safe to repeat.

        Args:
            question: the request to send.
            takes_gzip: whether the response may be compressed.
            among: the backends to try; all by default.

        Raises:
            Refusal: no backend answers.
        """
        reasons: list[str] = []
        backends = self._in_turn() if among is None else among
        for backend in backends:
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    connection = await backend.send(question, takes_gzip=takes_gzip)
            except TimeoutError:
                # It is still working on the query; another backend would take as long.
                sentence = f"no response within {self._timeout_seconds:g} s; query less data"
                raise Refusal(Cause.BACKEND, 504, sentence) from None
            except UpstreamError as error:
                reasons.append(str(error))
                took = time.monotonic() - began
                if took > RESEND_SECONDS and not isinstance(error, ConnectError):
                    # The query may have crashed it, and would then crash the others, too.
                    raise Refusal(Cause.BACKEND, 502, f"the backend failed: {error}") from error
                continue
            self._on_answer(backend.url, connection.status)
            if _is_not_ready(connection) and len(reasons) + 1 < len(backends):
                backend.release(connection)
                backend.error = "it answered 503"
                reasons.append(backend.error)
                continue
            return Asked(backend, connection)
        shown = "; ".join(dict.fromkeys(reasons)) or "none is known"
        sentence = f"no Prometheus answers: {shown}"
        raise Refusal(Cause.BACKEND, 503, sentence, retry_seconds=CHECK_SECONDS)

    async def watch(self) -> None:
        """Check all backends periodically, until cancelled."""
        before: list[tuple[str, bool]] = []
        said: dict[str, str] = {}
        while True:
            await asyncio.gather(*(backend.check() for backend in self.backends))
            for backend in self.backends:
                self._say(backend, said)
            found = [(backend.url, backend.is_up) for backend in self.backends]
            if found != before:
                self._on_change()
            before = found
            await asyncio.sleep(CHECK_SECONDS)

    def _say(self, backend: Backend, said: dict[str, str]) -> None:
        before, now = said.get(backend.url, ""), backend.error
        said[backend.url] = now
        if now and now != before:
            logger.warning("a backend is unhealthy", extra={"url": backend.url, "reason": now})
        elif before and not now:
            logger.info("a backend is healthy again", extra={"url": backend.url})

    def close(self) -> None:
        """Drop the connections."""
        for backend in self.backends:
            backend.close()

    def _in_turn(self) -> list[Backend]:
        """Return the healthy backends in turn, then the others: they may have recovered."""
        if not self.backends:
            return []
        self._turn = (self._turn + 1) % len(self.backends)
        order = [*self.backends[self._turn :], *self.backends[: self._turn]]
        return sorted(order, key=lambda backend: not backend.is_up)


def _is_not_ready(connection: Connection) -> bool:
    """Return whether a server is not ready yet; a 503 with JSON is about the query instead."""
    kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    return connection.status == 503 and kind != JSON

"""Proxy for one kubelet: adds labels to its metrics and serves them to scrapers."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from sidecar.control.reports import TargetState
from sidecar.errors import LiveryError, UpstreamTimeoutError
from sidecar.http.messages import Request, Response, failed, plain
from sidecar.http.negotiation import compress_parts, takes_gzip
from sidecar.kubelet.client import KubeletClient, KubeletSettings, Parts
from sidecar.kubelet.pods import KubeletPods
from sidecar.kubelet.shared_text import Reader, SharedText
from sidecar.model.exposition.formats import Escaping, Format, Negotiated, content_type, negotiate
from sidecar.model.exposition.limits import NODE_LIMITS, Limits
from sidecar.model.exposition.stream import StreamRewriter
from sidecar.model.exposition.stream_cache import StreamCache
from sidecar.model.exposition.timeouts import scrape_timeout
from sidecar.model.labels.relabel import Rule
from sidecar.model.pods.index import PodIndex, PodLabels
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.encoding import EncodedPolicy
from sidecar.model.rewrite.rewriter import SeriesRewriter
from sidecar.process.metrics import Telemetry

logger = logging.getLogger(__name__)

MAX_SCRAPES = 2
"""Concurrent scrapes of the kubelet per endpoint; others wait until their own deadline."""
MAX_WAITING = 16
"""Scrapes of one endpoint, running and waiting; any further one gets 503."""
MAX_CHANGED = 20
"""Changed namespaces, pods and containers; if there are more, clearing the caches is cheaper."""
MAX_VARIANTS = 2
"""Caches per endpoint: one for each name escaping that clients negotiate."""
CADVISOR_LABELS = frozenset(
    b"container image name id node device interface cpu state failure_type scope tcp_state "
    b"udp_state kernel_version os_type".split()
)
"""Labels that identify cAdvisor's series. Never added: queries rely on where they are absent.
Source: https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md"""
_ACCEPT = "text/plain;version=0.0.4"


_TextKey = tuple[str, Escaping]
"""Path with query, and the escaping that the client negotiated."""


class TextSettings(NamedTuple):
    """How a kubelet's exposition is rewritten."""

    namespace_label: str = "namespace"
    """Label that names a series' namespace; that namespace's labels are added to the series."""
    keeps_timestamps: bool = False
    limits: Limits = NODE_LIMITS
    pod_labels: PodLabels | None = None
    """Pod labels and annotations to add to series; None if pods are not fetched."""


class KubeletProxy:
    """Answers scrapes of one kubelet's endpoints.

    Args:
        kubelet: how to reach the kubelet.
        text: how its exposition is rewritten.
        telemetry: receives the scrape metrics.
        on_change: called after an endpoint's first scrape, and when its error changes.
        on_scraped: called when a scrape has ended; the caches may have grown.
        scrape_slots: limits concurrent scrapes of all kubelets; others wait until their deadline.

    Raises:
        SettingsError: the kubelet's address or CA cannot be used.
    """

    def __init__(
        self,
        kubelet: KubeletSettings,
        text: TextSettings,
        telemetry: Telemetry,
        *,
        on_change: Callable[[], None],
        on_scraped: Callable[[], None],
        scrape_slots: asyncio.Semaphore,
    ) -> None:
        self._url = kubelet.url
        self._states: dict[str, TargetState] = {}
        """By endpoint."""
        self._on_change, self._on_scraped = on_change, on_scraped
        self._scrape_slots = scrape_slots
        self._kubelet = KubeletClient(kubelet)
        self._text = text
        self._telemetry = telemetry
        self._encoded = EncodedPolicy(SeriesPolicy())
        self._endpoint_relabelings: Mapping[str, tuple[Rule, ...]] = {}
        self._index: PodIndex | None = None
        self._caches: dict[tuple[str, Escaping], StreamCache] = {}
        self._changed: set[str] | None = set()
        """Substrings for what changed since the caches were filled: every affected series contains
        at least one. None if any series may be affected."""
        self.running: dict[str, int] = {}
        """Running and waiting scrapes, by endpoint."""
        self._turns: dict[str, asyncio.Semaphore] = {}
        """By endpoint."""
        self._texts: dict[_TextKey, SharedText] = {}
        """Responses that are being read now."""
        self.pods: KubeletPods | None = None
        if text.pod_labels is not None:
            self.pods = KubeletPods(self._kubelet, text.pod_labels, self._apply_pods)

    @property
    def cached_bytes(self) -> int:
        """Size of the series caches."""
        return sum(cache.size_bytes for cache in self._caches.values())

    @property
    def pods_error(self) -> str:
        """Why the last pod list could not be fetched; empty if it could."""
        return self.pods.error if self.pods is not None else ""

    def apply(
        self,
        encoded: EncodedPolicy,
        endpoint_relabelings: Mapping[str, tuple[Rule, ...]],
        namespaces: Collection[str] | None,
    ) -> None:
        """Apply a policy.

        Args:
            encoded: the policy.
            endpoint_relabelings: relabel rules per endpoint, applied after the policy's own.
            namespaces: namespaces whose labels changed; None if rules changed.
        """
        self._encoded = encoded
        self._endpoint_relabelings = endpoint_relabelings
        if namespaces is None or len(namespaces) > MAX_CHANGED:
            self._changed = None
            return
        marks = {f'"{name}"' for name in namespaces}
        if self._index is not None:
            marks |= self._index.marks_of(namespaces)
        self._add_changed(marks)

    def states(self) -> list[TargetState]:
        """Return the result of each endpoint's last scrape."""
        return list(self._states.values())

    def forget(self) -> None:
        """Empty the caches."""
        self._caches.clear()

    def close(self) -> None:
        """Close the connections."""
        if self.pods is not None:
            self.pods.close()
        self._kubelet.close()

    async def scrape(self, endpoint: str, request: Request) -> Response:
        """Answer a scrape of one of the kubelet's paths."""
        wanted = negotiate(request.headers.get("accept", ""))._replace(fmt=Format.TEXT)
        deadline = asyncio.get_running_loop().time() + scrape_timeout(request.headers)
        path = endpoint + (f"?{request.query}" if request.query else "")
        key = (path, wanted.escaping)
        text = self._texts.get(key)
        if text is None or not text.is_for(deadline):
            if self.running.get(endpoint, 0) >= MAX_WAITING:
                return plain(503, "too many concurrent scrapes of this endpoint")
            turns = self._turns.setdefault(endpoint, asyncio.Semaphore(MAX_SCRAPES))
            slot = _Slot(self.running, endpoint, (turns, self._scrape_slots))
            text = SharedText(self._labelled(path, slot, wanted, deadline), deadline)
            self._texts[key] = text
        reader = text.join(deadline)
        try:
            first = await reader.next()
        except BaseException as error:
            await self._leave(key, text, reader)
            if isinstance(error, LiveryError):
                return failed(error)
            raise
        parts = self._rest(first, key, text, reader)
        vary = ("Vary", "Accept, Accept-Encoding")
        if not takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(200, b"", content_type(wanted), (vary,), parts)
        headers = (vary, ("Content-Encoding", "gzip"))
        return Response(200, b"", content_type(wanted), headers, compress_parts(parts))

    async def _rest(
        self, first: bytes, key: "_TextKey", text: SharedText, reader: Reader
    ) -> AsyncGenerator[bytes, None]:
        part = first
        try:
            while part:
                yield part
                part = await reader.next()
        finally:
            await self._leave(key, text, reader)

    async def _leave(self, key: "_TextKey", text: SharedText, reader: Reader) -> None:
        await text.leave(reader)
        if not text.has_readers and self._texts.get(key) is text:
            del self._texts[key]

    async def _labelled(
        self, path: str, slot: "_Slot", wanted: Negotiated, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        """Scrape the kubelet when a slot is free; yields its exposition with labels added."""
        try:
            await slot.acquire(deadline)
            timeout_seconds = deadline - asyncio.get_running_loop().time()
            body = await self._ask(path, timeout_seconds, deadline)
        except LiveryError as error:
            slot.release()
            self._note(slot.endpoint, str(error))
            raise
        except BaseException:
            slot.release()
            raise
        async with contextlib.aclosing(self._label(slot, wanted, body, deadline)) as parts:
            async for part in parts:
                yield part

    async def _ask(self, path: str, timeout_seconds: float, deadline: float) -> Parts:
        """Request metrics and pods concurrently: the kubelet takes long to answer with metrics."""
        ask = self._kubelet.get(path, accept=_ACCEPT, timeout_seconds=timeout_seconds)
        if self.pods is None:
            return await ask
        asked = asyncio.ensure_future(ask)
        try:
            await self.pods.refresh(deadline)
            return await asked
        except BaseException:
            asked.cancel()
            with contextlib.suppress(LiveryError, asyncio.CancelledError):
                await _drop(await asked)
            raise

    async def _label(
        self, slot: "_Slot", wanted: Negotiated, parts: Parts, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        endpoint = slot.endpoint
        loop = asyncio.get_running_loop()
        started = loop.time()
        cache = self._cache(endpoint, wanted.escaping)
        stream = StreamRewriter(cache, lambda: loop.time() > deadline)
        try:
            async with contextlib.aclosing(parts):
                while some := await _next(parts, deadline):
                    if labelled := stream.feed(*some):
                        yield labelled
            if last := stream.finish():
                yield last
            self._telemetry.set("livery_node_samples", stream.samples, endpoint=endpoint)
            if stream.left_out:
                left_out = "livery_node_series_left_out_total"
                self._telemetry.add(left_out, stream.left_out, endpoint=endpoint)
            self._note(endpoint, "", stream.samples)
        except LiveryError as error:
            stream.leave()
            extra = {"endpoint": endpoint, "reason": str(error)}
            logger.warning("a scrape was aborted", extra=extra)
            self._telemetry.add("livery_node_broken_scrapes_total", endpoint=endpoint)
            self._note(endpoint, str(error))
            raise
        finally:
            slot.release()
            self._on_scraped()
            spent = loop.time() - started
            self._telemetry.add(
                "livery_node_scrape_duration_seconds_total", spent, endpoint=endpoint
            )

    def _note(self, endpoint: str, error: str, samples: int = 0) -> None:
        before = self._states.get(endpoint)
        self._states[endpoint] = TargetState(f"{self._url}{endpoint}", error, samples)
        if before is None or before.error != error:
            self._on_change()

    def _cache(self, endpoint: str, escaping: Escaping) -> StreamCache:
        self._invalidate()
        cache = self._caches.get((endpoint, escaping))
        if cache is None:
            others = [key for key in self._caches if key[0] == endpoint]
            if len(others) >= MAX_VARIANTS:
                del self._caches[others[0]]
            cache = self._caches[endpoint, escaping] = StreamCache(
                self._rewriter(endpoint, escaping),
                keeps_timestamps=self._text.keeps_timestamps,
                limits=self._text.limits,
            )
        return cache

    def _rewriter(self, endpoint: str, escaping: Escaping) -> SeriesRewriter:
        policy = self._encoded.policy
        own = self._endpoint_relabelings.get(endpoint, ())
        policy = replace(policy, relabelings=policy.relabelings + own)
        wanted = self._text.pod_labels
        context = RewriteContext(
            namespace_label=self._text.namespace_label,
            pods=self._index,
            completes=wanted is not None and wanted.completes,
            never_added=CADVISOR_LABELS,
        )
        return SeriesRewriter(policy, context, escaping, self._encoded.encoding(escaping))

    def _apply_pods(self, index: PodIndex, changed: Collection[str]) -> None:
        self._index = index
        self._add_changed(changed)

    def _add_changed(self, marks: Collection[str]) -> None:
        if self._changed is not None:
            self._changed.update(marks)
        if self._changed is not None and len(self._changed) > MAX_CHANGED:
            self._changed = None

    def _invalidate(self) -> None:
        """Invalidate what changed, only when scraped: many nodes do not do it all at once."""
        if self._changed is None:
            self._caches.clear()
        elif self._changed:
            for (endpoint, escaping), cache in self._caches.items():
                cache.invalidate(self._rewriter(endpoint, escaping), self._changed)
        self._changed = set()


class _Slot:
    """One scrape's slot within the concurrency limits; releasing it twice has no effect."""

    def __init__(
        self,
        running: dict[str, int],
        endpoint: str,
        turns: tuple[asyncio.Semaphore, ...],
    ) -> None:
        self._running, self.endpoint = running, endpoint
        self._turns = turns
        self._held: list[asyncio.Semaphore] = []
        self._is_held = True
        running[endpoint] = running.get(endpoint, 0) + 1

    async def acquire(self, deadline: float) -> None:
        """Wait for a free slot.

        Raises:
            UpstreamTimeoutError: no slot became free before the deadline.
        """
        try:
            async with asyncio.timeout_at(deadline):
                for turn in self._turns:
                    await turn.acquire()
                    self._held.append(turn)
        except TimeoutError:
            raise UpstreamTimeoutError("no scrape slot became free in time") from None

    def release(self) -> None:
        """Release the slot."""
        if self._is_held:
            self._is_held = False
            self._running[self.endpoint] -= 1
        while self._held:
            self._held.pop().release()


async def _next(parts: Parts, deadline: float) -> list[bytes]:
    """Return the next chunks; an empty list at the end."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(parts, [])
    except TimeoutError:
        reason = "the kubelet's response was not complete within the scrape timeout"
        raise UpstreamTimeoutError(reason) from None


async def _drop(parts: Parts) -> None:
    # Only a started generator releases its connection; this does not wait for data.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0), contextlib.aclosing(parts):
            await anext(parts, [])

"""Role `node`: between one kubelet and whoever scrapes it; text is labelled while it arrives."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

from sidecar import VERSION
from sidecar.answers import scrape_timeout, takes_gzip
from sidecar.control import ControlClient
from sidecar.errors import LiveryError, UpstreamTimeoutError
from sidecar.gate import Gate
from sidecar.kubelet import KubeletClient
from sidecar.listening import Listener, Ports, ServedCertificate, serve
from sidecar.messages import Request, Response, plain
from sidecar.model.formats import (
    Escaping,
    Format,
    Negotiated,
    content_type,
    negotiate,
)
from sidecar.model.policy import Policy
from sidecar.model.rewriting import Marking, Rewriting
from sidecar.model.streaming import Passage, StreamMemory
from sidecar.node_settings import NodeSettings
from sidecar.policy_file import PolicyFile
from sidecar.process import cpu_seconds, resident_bytes
from sidecar.server import Server
from sidecar.telemetry import Family, Telemetry

logger = logging.getLogger(__name__)

ENDPOINTS = (
    "/metrics",
    "/metrics/cadvisor",
    "/metrics/resource",
    "/metrics/probes",
    "/metrics/slis",
)
"""What is served, under the kubelet's own paths."""
METRICS = (
    Family("gauge", "livery_node_build_info", "Version of this proxy.", ("version",)),
    Family(
        "counter", "livery_node_scrapes_total", "Scrapes that began, by status.",
        ("endpoint", "code"),
    ),
    Family(
        "counter", "livery_node_broken_scrapes_total",
        "Answers that broke off midway: the kubelet's text did.", ("endpoint",),
    ),
    Family("counter", "livery_node_scrape_duration_seconds_total", "Time spent.", ("endpoint",)),
    Family("gauge", "livery_node_samples", "Samples in the last whole answer.", ("endpoint",)),
    Family("gauge", "livery_node_remembered_bytes", "Size of the remembered series."),
    Family("gauge", "livery_node_namespaces", "Namespaces whose labels are known."),
    Family("gauge", "livery_node_kubelet_tls_verified", "Whether the kubelet is verified."),
    Family("gauge", "livery_node_control_connected", "Whether the policy stream is open."),
    Family("gauge", "livery_node_policy_age_seconds", "Time since the policy came into force."),
    Family("counter", "livery_node_policies_rejected_total", "Policies that could not be used."),
    Family("gauge", "process_resident_memory_bytes", "Resident memory."),
    Family("counter", "process_cpu_seconds_total", "User and system time."),
)  # fmt: skip
"""What the admin port tells of this proxy."""
MAX_SCRAPES = 2
"""At once, of one endpoint; the next gets 503."""
MAX_CHANGED = 20
"""Namespaces; of more than that everything is rewritten anew, which is cheaper."""
MAX_VARIANTS = 2
"""Kinds of clients that are remembered, for each endpoint."""
DRAIN_SECONDS = 15.0
_ACCEPT = "text/plain;version=0.0.4"
_GZIP_WINDOW = 31


class NodeRole:
    """One proxy in the node role.

    Raises:
        SettingsError: the kubelet's address or CA cannot be used, or the control service's.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._kubelet = KubeletClient(settings.kubelet)
        self._telemetry = Telemetry(METRICS)
        self._telemetry.set("livery_node_build_info", 1, version=VERSION)
        self._telemetry.add("livery_node_policies_rejected_total", 0)
        self._policy = Policy()
        self._policy_at = time.monotonic()
        self._fault = "the namespaces' labels have not arrived yet"
        self._memories: dict[tuple[str, Escaping], StreamMemory] = {}
        self._running: dict[str, int] = {}
        self._file: PolicyFile | None = None
        self._control: ControlClient | None = None
        self._gate: Gate | None = None
        if settings.control is not None:
            self._control = ControlClient(settings.control, self._apply, reads_access=False)
            if settings.accounts is not None:
                self._gate = Gate(self._control.ask, settings.accounts)
        if settings.policy_file is not None:
            self._file = PolicyFile(settings.policy_file, self._apply, self._reject)
        elif self._control is None:
            self._fault = "there is neither a control service (LIVERY_CONTROL_URL) nor a --policy"
        files = settings.certificate
        self._certificate = None if files is None else ServedCertificate(*files)
        self.data = Server(self.handle_data)
        self.admin = Server(self.handle_admin)
        self.ports = Ports()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then finish what is in flight."""
        settings = self._settings
        if self._file is not None:
            self._file.read()
        tls = None if self._certificate is None else self._certificate.tls
        tasks: list[Callable[[], Awaitable[None]]] = [
            one.follow for one in (self._certificate, self._file) if one is not None
        ]
        if self._control is not None and self._file is None:
            tasks.append(self._control.run)
        listeners = (
            Listener(self.data, settings.port, "metrics", tls, DRAIN_SECONDS),
            Listener(self.admin, settings.admin_port, "admin"),
        )
        await serve(self.ports, listeners, tasks, stop)
        self._kubelet.close()

    async def handle_data(self, request: Request) -> Response:
        """Answer on the data port."""
        if request.path not in ENDPOINTS:
            return plain(404, f"served here: {', '.join(ENDPOINTS)}")
        if request.method != "GET":
            return plain(405, "only GET is served here")._replace(headers=(("Allow", "GET"),))
        endpoint = request.path
        refusal = await self._gate.refuse(request.headers) if self._gate is not None else None
        if refusal is not None:
            response = plain(refusal.status, refusal.sentence)
            if refusal.status == 401:
                response = response._replace(headers=(("WWW-Authenticate", "Bearer"),))
            return self._count(endpoint, response)
        if self._fault:
            return self._count(endpoint, plain(503, self._fault))
        if self._running.get(endpoint, 0) >= MAX_SCRAPES:
            return self._count(endpoint, plain(503, "too many scrapes of this endpoint at once"))
        slot = _Slot(self._running, endpoint)
        try:
            return self._count(endpoint, await self._begin(endpoint, request, slot))
        except UpstreamTimeoutError as error:
            slot.release()
            return self._count(endpoint, plain(504, str(error)))
        except LiveryError as error:
            slot.release()
            return self._count(endpoint, plain(502, str(error)))
        except BaseException:
            slot.release()
            raise

    async def handle_admin(self, request: Request) -> Response:
        """Answer on the admin port."""
        if request.path == "/healthz":
            return plain(200, "ok")
        if request.path == "/readyz":
            reason = self._fault or next(iter(self.ports.faults.values()), "")
            return plain(503, reason) if reason else plain(200, "ok")
        if request.path == "/metrics":
            self._observe()
            body = self._telemetry.render()
            return Response(200, body, "text/plain; version=0.0.4; charset=utf-8")
        return plain(404, "/metrics, /healthz and /readyz are served here")

    async def _begin(self, endpoint: str, request: Request, slot: "_Slot") -> Response:
        """Ask the kubelet; answer when its own answer has begun, for an error has a status then."""
        wanted = negotiate(request.headers.get("accept", ""))._replace(fmt=Format.TEXT)
        loop = asyncio.get_running_loop()
        timeout_seconds = scrape_timeout(request.headers)
        deadline = loop.time() + timeout_seconds
        path = endpoint + (f"?{request.query}" if request.query else "")
        body = await self._kubelet.get(path, accept=_ACCEPT, timeout_seconds=timeout_seconds)
        parts = self._label(slot, wanted, body, deadline)
        first = await anext(parts, b"")
        vary = ("Vary", "Accept, Accept-Encoding")
        stream = _behind(first, parts)
        if not takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(200, b"", content_type(wanted), (vary,), stream)
        headers = (vary, ("Content-Encoding", "gzip"))
        return Response(200, b"", content_type(wanted), headers, _compressed(stream))

    async def _label(
        self,
        slot: "_Slot",
        wanted: Negotiated,
        parts: AsyncGenerator[bytes, None],
        deadline: float,
    ) -> AsyncGenerator[bytes, None]:
        endpoint = slot.endpoint
        loop = asyncio.get_running_loop()
        started = loop.time()
        memory = self._memory(endpoint, wanted.escaping)
        passage = Passage(memory, lambda: loop.time() > deadline)
        is_whole = False
        try:
            async with contextlib.aclosing(parts):
                while part := await _next(parts, deadline):
                    if labelled := passage.feed(part):
                        yield labelled
            if last := passage.finish():
                yield last
            is_whole = True
            self._telemetry.set("livery_node_samples", passage.samples, endpoint=endpoint)
        except LiveryError as error:
            passage.leave()
            extra = {"endpoint": endpoint, "reason": str(error)}
            logger.warning("a scrape broke off", extra=extra)
            raise
        finally:
            slot.release()
            if not is_whole:
                self._telemetry.add("livery_node_broken_scrapes_total", endpoint=endpoint)
            spent = loop.time() - started
            self._telemetry.add(
                "livery_node_scrape_duration_seconds_total", spent, endpoint=endpoint
            )

    def _memory(self, endpoint: str, escaping: Escaping) -> StreamMemory:
        memory = self._memories.get((endpoint, escaping))
        if memory is None:
            others = [key for key in self._memories if key[0] == endpoint]
            if len(others) >= MAX_VARIANTS:
                del self._memories[others[0]]
            memory = self._memories[endpoint, escaping] = StreamMemory(
                self._rewriting(escaping), keeps_timestamps=self._settings.keeps_timestamps
            )
        return memory

    def _rewriting(self, escaping: Escaping) -> Rewriting:
        marking = Marking(namespace_label=self._settings.namespace_label)
        return Rewriting(self._policy, marking, escaping)

    def _count(self, endpoint: str, response: Response) -> Response:
        code = str(response.status)
        self._telemetry.add("livery_node_scrapes_total", endpoint=endpoint, code=code)
        return response

    def _observe(self) -> None:
        put, now = self._telemetry.set, time.monotonic()
        remembered = sum(memory.bytes for memory in self._memories.values())
        put("livery_node_remembered_bytes", remembered)
        put("livery_node_namespaces", len(self._policy.namespaces or {}))
        put("livery_node_kubelet_tls_verified", int(self._settings.kubelet.is_verified))
        put("livery_node_policy_age_seconds", round(now - self._policy_at, 3))
        put("process_resident_memory_bytes", resident_bytes())
        put("process_cpu_seconds_total", round(cpu_seconds(), 3))
        if self._control is not None:
            put("livery_node_control_connected", int(self._control.is_connected))
            put("livery_node_policies_rejected_total", self._control.rejected)

    # Policy

    def _apply(self, policy: Policy) -> None:
        if policy.namespaces is None:
            reason = "it has no namespaces: this proxy is not granted their labels"
            self._reject(reason, is_first=True)
            return
        self._fault = ""
        before = self._policy
        # What has no namespace is the node's own and wears nobody's labels.
        self._policy = replace(policy, labels={}, access=None)
        self._policy_at = time.monotonic()
        changed = _changed_namespaces(before, self._policy)
        if changed is None or len(changed) > MAX_CHANGED:
            self._memories.clear()
            return
        for (_, escaping), memory in self._memories.items():
            memory.adopt(self._rewriting(escaping), changed)

    def _reject(self, reason: str, *, is_first: bool) -> None:
        self._telemetry.add("livery_node_policies_rejected_total")
        if is_first:
            self._fault = f"the policy cannot be used: {reason}"


class _Slot:
    """One scrape's place among those of its endpoint; given back once, by whoever is last."""

    def __init__(self, running: dict[str, int], endpoint: str) -> None:
        self._running, self.endpoint = running, endpoint
        self._is_held = True
        running[endpoint] = running.get(endpoint, 0) + 1

    def release(self) -> None:
        """Give it back."""
        if self._is_held:
            self._is_held = False
            self._running[self.endpoint] -= 1


def _changed_namespaces(before: Policy, after: Policy) -> list[str] | None:
    """Return the namespaces whose labels differ; None where more than labels does."""
    if replace(before, namespaces=None) != replace(after, namespaces=None):
        return None
    old, new = before.namespaces or {}, after.namespaces or {}
    return [name for name in {*old, *new} if old.get(name) != new.get(name)]


async def _next(parts: AsyncGenerator[bytes, None], deadline: float) -> bytes:
    """Return the next part; empty at the end."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(parts, b"")
    except TimeoutError:
        reason = "the kubelet's text was not whole in the scrape's time"
        raise UpstreamTimeoutError(reason) from None


async def _behind(first: bytes, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(parts):
        if first:
            yield first
        async for part in parts:
            yield part


async def _compressed(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    # Imported at the first need: not every scraper asks for it.
    from isal import isal_zlib

    compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP_WINDOW)
    is_first = True
    async with contextlib.aclosing(parts):
        async for part in parts:
            data = compressor.compress(part)
            if is_first:
                # So that the scraper sees that the answer has begun.
                data += compressor.flush(isal_zlib.Z_SYNC_FLUSH)
                is_first = False
            if data:
                yield data
        yield compressor.flush()

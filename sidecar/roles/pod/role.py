"""Role `pod`: beside one workload, between it and whoever scrapes it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sidecar import VERSION
from sidecar.control.client import ControlClient
from sidecar.control.policy_file import PolicyFile
from sidecar.control.reports import State, TargetState, build_report
from sidecar.errors import LiveryError
from sidecar.http.messages import Request, Response, plain
from sidecar.http.server import Server
from sidecar.model.exposition.formats import negotiate
from sidecar.model.exposition.timeouts import scrape_timeout
from sidecar.model.policy.document import Policy, parse_policy
from sidecar.model.rewrite.rewriter import RewriteContext
from sidecar.process.admin import answer_admin
from sidecar.process.memory import cpu_seconds, resident_bytes
from sidecar.process.metrics import Family, Telemetry
from sidecar.process.ports import Listener, Ports, serve
from sidecar.roles.pod.settings import PodSettings
from sidecar.scrape.answers import render_scrape
from sidecar.scrape.coalescer import BusyError, ScrapeCoalescer
from sidecar.scrape.scraper import Scrape, Scraper

logger = logging.getLogger(__name__)

METRICS = (
    Family("gauge", "livery_proxy_build_info", "Version of this proxy.", ("version",)),
    Family("counter", "livery_proxy_scrapes_total", "Scrapes answered, by status.", ("code",)),
    Family("counter", "livery_proxy_scrape_duration_seconds_total", "Time spent on scrapes."),
    Family("gauge", "livery_proxy_samples", "Samples in the last answer."),
    Family("gauge", "livery_proxy_target_up", "Whether its last scrape succeeded.", ("target",)),
    Family("gauge", "livery_proxy_remembered_bytes", "Size of the remembered series."),
    Family("gauge", "livery_proxy_policy_age_seconds", "Time since the policy came into force."),
    Family("counter", "livery_proxy_policies_rejected_total", "Policies that could not be used."),
    Family("gauge", "livery_proxy_faults", "Settings that are wrong; scrapes are refused."),
    Family("gauge", "livery_proxy_control_connected", "Whether the policy stream is open."),
    Family("gauge", "livery_proxy_control_age_seconds", "Time since the control service spoke."),
    Family("counter", "livery_proxy_control_failures_total", "Times that the stream broke."),
    Family("gauge", "process_resident_memory_bytes", "Resident memory."),
    Family("counter", "process_cpu_seconds_total", "User and system time."),
)
"""What the admin port tells of this proxy."""

DRAIN_SECONDS = 15.0
MAX_UNSENT_BYTES = 24 << 20
"""Answers that slow clients have not taken yet; beyond, scrapes are refused."""


class PodRole:
    """One proxy in the pod role."""

    def __init__(self, settings: PodSettings) -> None:
        self._settings = settings
        self._faults = list(settings.faults)
        self._policy = Policy()
        context = RewriteContext(
            identity=settings.identity,
            target_label=settings.target_label,
            namespace_label=settings.namespace_label,
            filters=settings.filters,
        )
        self._scraper = Scraper(settings.targets, context, settings.identity.instance)
        self._telemetry = _start_metrics()
        self._control: ControlClient | None = None
        self._started_at = time.monotonic()
        self._policy_at = self._started_at
        self._file: PolicyFile | None = None
        self._policy_fault = ""
        self.ports = Ports()
        self._results: dict[str, TargetState] = {}
        self._samples = 0
        self.data = Server(self.handle_data)
        self._scrapes = ScrapeCoalescer(
            self._scraper, lambda: self.data.unsent_bytes > MAX_UNSENT_BYTES
        )
        self.admin = Server(self.handle_admin)

    @property
    def data_port(self) -> int:
        """The data port; 0 while it is not open."""
        return self.ports.bound.get("metrics", 0)

    @property
    def admin_port(self) -> int:
        """The admin port; 0 while it is not open."""
        return self.ports.bound.get("admin", 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then finish what is in flight."""
        for fault in self._faults:
            logger.error("a setting is wrong; scrapes are refused", extra={"reason": fault})
        self._start_policy()
        tasks: list[Callable[[], Awaitable[None]]] = []
        if self._control is not None:
            control = self._control
            tasks += [control.run, lambda: control.run_reports(self.report)]
        if self._file is not None:
            tasks.append(self._file.follow)
        listeners = (
            Listener(self.data, self._settings.port, "metrics", drain_seconds=DRAIN_SECONDS),
            Listener(self.admin, self._settings.admin_port, "admin"),
        )
        await serve(self.ports, listeners, tasks, stop)
        self._scraper.close()

    async def handle_data(self, request: Request) -> Response:
        """Answer on the data port."""
        if request.path != "/metrics":
            return plain(404, "only /metrics is served here")
        if request.method != "GET":
            return plain(405, "only GET is served here")._replace(headers=(("Allow", "GET"),))
        started = time.monotonic()
        response = await self._scrape(request)
        self._telemetry.add("livery_proxy_scrapes_total", code=str(response.status))
        self._telemetry.add(
            "livery_proxy_scrape_duration_seconds_total", time.monotonic() - started
        )
        return response

    async def handle_admin(self, request: Request) -> Response:
        """Answer on the admin port."""
        unready = self._unready() or next(iter(self.ports.faults.values()), "")
        return answer_admin(request.path, unready, self._render_metrics)

    def report(self) -> dict[str, object]:
        """What the control service is told of this proxy."""
        faults = [*self._faults, *self.ports.faults.values()]
        age_seconds = time.monotonic() - self._policy_at
        targets = list(self._results.values())
        state = State("pod", faults, targets, self._samples, age_seconds)
        return build_report(state, self._control)

    async def _scrape(self, request: Request) -> Response:
        reason = self._unready()
        if reason:
            return plain(503, reason)
        wanted = negotiate(request.headers.get("accept", ""))
        try:
            shared = await self._scrapes.get(wanted, request.query, scrape_timeout(request.headers))
        except BusyError as error:
            return plain(503, str(error))
        self._note(shared.scrape)
        return render_scrape(shared, wanted, request.headers)

    def _unready(self) -> str:
        if self._faults:
            return self._faults[0]
        if self._policy_fault:
            return self._policy_fault
        if self._settings.filters and self._policy.access is None:
            return "the access rules that filter this workload have not arrived yet"
        if self._settings.namespace_label and self._policy.namespaces is None:
            return "the namespaces' labels have not arrived, or this workload may not have them"
        return ""

    def _note(self, scrape: Scrape) -> None:
        self._samples = scrape.samples_out
        self._telemetry.set("livery_proxy_samples", scrape.samples_out)
        for result in scrape.results:
            url, error = result.target.url, str(result.error or "")
            self._telemetry.set("livery_proxy_target_up", int(not error), target=url)
            before = self._results.get(url)
            self._results[url] = TargetState(url, error, result.samples)
            if before is not None and before.error == error:
                continue
            if error:
                logger.warning("a target failed", extra={"target": url, "reason": error})
            if self._control is not None:
                self._control.changed()

    def _render_metrics(self) -> bytes:
        self._observe()
        return self._telemetry.render()

    def _observe(self) -> None:
        now, put = time.monotonic(), self._telemetry.set
        put("livery_proxy_remembered_bytes", self._scraper.cached_bytes)
        put("livery_proxy_policy_age_seconds", round(now - self._policy_at, 3))
        put("livery_proxy_faults", len(self._faults) + len(self.ports.faults))
        put("process_resident_memory_bytes", resident_bytes())
        put("process_cpu_seconds_total", round(cpu_seconds(), 3))
        if self._control is not None:
            put("livery_proxy_control_connected", int(self._control.is_connected))
            confirmed = self._control.confirmed_at or self._started_at
            put("livery_proxy_control_age_seconds", round(now - confirmed, 3))
            put("livery_proxy_control_failures_total", self._control.failures)
            put("livery_proxy_policies_rejected_total", self._control.rejected)

    # Policy

    def _start_policy(self) -> None:
        settings = self._settings
        if settings.policy_file is not None:
            self._file = PolicyFile(settings.policy_file, self._apply, self._reject)
            self._file.read()
            return
        if settings.bootstrap is not None:
            try:
                self._apply(parse_policy(settings.bootstrap))
            except LiveryError as error:
                # The stream brings a better one; until then nothing safe can be exposed.
                self._policy_fault = f"the bootstrap policy cannot be used: {error}"
                logger.error("the bootstrap cannot be used", extra={"reason": str(error)})
        if settings.control is not None:
            try:
                self._control = ControlClient(
                    settings.control, self._apply, reads_access=settings.filters
                )
            except LiveryError as error:
                self._faults.append(str(error))
                logger.error("a setting is wrong", extra={"reason": str(error)})

    def _apply(self, policy: Policy) -> None:
        self._policy_fault = ""
        self._policy = policy
        self._policy_at = time.monotonic()
        self._scraper.use(policy)

    def _reject(self, reason: str, *, is_first: bool) -> None:
        self._telemetry.add("livery_proxy_policies_rejected_total")
        if is_first:
            self._policy_fault = reason


def _start_metrics() -> Telemetry:
    telemetry = Telemetry(METRICS)
    telemetry.set("livery_proxy_build_info", 1, version=VERSION)
    telemetry.add("livery_proxy_policies_rejected_total", 0)  # so that its first rise is seen
    return telemetry

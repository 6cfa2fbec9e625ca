"""Role `pod`: a proxy beside one workload, between it and its scrapers."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sidecar import VERSION
from sidecar.control.reports import ProxyState, TargetState
from sidecar.control.sending import observe_sending
from sidecar.control.source import PolicySource
from sidecar.errors import LiveryError
from sidecar.http.messages import Request, Response, failed, plain
from sidecar.http.server import Server
from sidecar.model.exposition.formats import Negotiated, negotiate
from sidecar.model.exposition.timeouts import DEFAULT_TIMEOUT_SECONDS, scrape_timeout
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.pod import PodPolicy, parse_pod_policy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.process.admin import answer_admin
from sidecar.process.logs import configure_logs
from sidecar.process.metrics import Telemetry, observe_process
from sidecar.process.ports import Listener, Ports, serve
from sidecar.process.readiness import Obstacle, Readiness, Reason
from sidecar.roles.pod.metrics import METRICS, PREFIX
from sidecar.roles.pod.policy import PodPolicyReceiver
from sidecar.roles.pod.settings import PodSettings, parse_pod_settings
from sidecar.scrape.answers import render_scrape
from sidecar.scrape.coalescer import BusyError, ScrapeCoalescer
from sidecar.scrape.rendering import Scrape, TargetResult
from sidecar.scrape.request import ScrapeRequest
from sidecar.scrape.scraper import Scraper

if TYPE_CHECKING:
    from sidecar.forward.pod import PodForwarder

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 15.0
FLUSH_SECONDS = 5.0
_MODERN = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4"
)
"""Accept header with the formats that Prometheus 3 accepts."""
MAX_UNSENT_BYTES = 24 << 20
"""Response bytes that slow clients have not read yet; above this, scrapes are refused."""


def start(arguments: Sequence[str], environ: Mapping[str, str]) -> "PodRole":
    """Create the role from a command line; an invalid setting makes scrapes return 503."""
    settings = parse_pod_settings(arguments, environ)
    configure_logs(settings.log_level)
    return PodRole(settings)


class PodRole:
    """One proxy in the pod role."""

    def __init__(self, settings: PodSettings) -> None:
        self._settings = settings
        self._faults = list(settings.faults)
        context = RewriteContext(
            identity=settings.identity,
            target_label=settings.target_label,
            namespace_label=settings.namespace_label,
            filters=settings.filters,
        )
        self.policy = PodPolicy()
        self.source = PolicySource(self._apply)
        self._scraper = Scraper(
            settings.targets,
            context,
            settings.identity.instance,
            limits=settings.limits,
            fallback=settings.fallback,
        )
        self._telemetry = Telemetry(METRICS)
        self._telemetry.set(f"{PREFIX}_build_info", 1, version=VERSION)
        self.ports = Ports(self.source.changed)
        self._said = ""
        """Why the last scrape was refused; empty if it was not."""
        self._results: dict[str, TargetState] = {}
        self._samples = self._left_out = 0
        self.data = Server(self.handle_data)
        self.scrapes = ScrapeCoalescer(
            self._scraper, lambda: self.data.unsent_bytes > MAX_UNSENT_BYTES
        )
        self.admin = Server(self.handle_admin)
        self._forwarder: PodForwarder | None = None
        """None until a policy has forwarding rules."""
        self._forwards = asyncio.Event()

    @property
    def data_port(self) -> int:
        """The data port; 0 while it is not open."""
        return self.ports.bound.get("metrics", 0)

    @property
    def admin_port(self) -> int:
        """The admin port; 0 while it is not open."""
        return self.ports.bound.get("admin", 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish requests in flight."""
        for fault in self._faults:
            logger.error("a setting is invalid; scrapes are refused", extra={"reason": fault})
        self._start_policy()
        listeners = (
            Listener(self.data, self._settings.port, "metrics", drain_seconds=DRAIN_SECONDS),
            Listener(self.admin, self._settings.admin_port, "admin"),
        )
        tasks = [*self.source.tasks(self.report), self._forward]
        await serve(self.ports, listeners, tasks, stop)
        if self._forwarder is not None:
            await self._forwarder.flush(FLUSH_SECONDS)
        self._scraper.close()

    async def handle_data(self, request: Request) -> Response:
        """Handle a request on the data port."""
        if request.path != "/metrics":
            return plain(404, "only /metrics is served here, without a trailing slash")
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
        """Handle a request on the admin port."""
        return answer_admin(request.path, self.readiness(), self.render_metrics)

    def report(self) -> dict[str, object]:
        """Return the report to the control service."""
        targets = list(self._results.values())
        faults = self.readiness().sentences
        sending = () if self._forwarder is None else self._forwarder.state()
        state = ProxyState("pod", faults, targets, self._samples, sending=sending)
        return self.source.report(state)

    def readiness(self) -> Readiness:
        """Return whether scrapes are served, and if not, why."""
        settings, series = self._settings, self.policy.series
        found = [Obstacle(Reason.SETTING, fault) for fault in self._faults]
        found.append(Obstacle(Reason.POLICY, self.source.fault))
        if settings.filters and series.access_rules is None:
            sentence = "the access rules that filter this workload have not arrived yet"
            found.append(Obstacle(Reason.ACCESS_RULES, sentence))
        if settings.namespace_label and series.namespaces is None:
            sentence = "the namespaces' labels have not arrived, or are not granted to this pod"
            found.append(Obstacle(Reason.NAMESPACES, sentence))
        return Readiness.of(found, self.ports.faults)

    async def _scrape(self, request: Request) -> Response:
        refusal = self.readiness().refusal
        if refusal != self._said:
            self._said = refusal
            self.source.changed()
        if refusal:
            return plain(503, refusal)
        wanted = negotiate(request.headers.get("accept", ""))
        headers = request.headers
        names = self._settings.passed_headers
        passed = tuple((name, headers[name]) for name in names if name in headers) if names else ()
        asked = ScrapeRequest(wanted, request.query, passed)
        try:
            scrape = await self.scrapes.get(asked, scrape_timeout(headers), request.peer)
        except BusyError as error:
            return plain(503, str(error))
        except LiveryError as error:  # of the policy; a target's error is in its outcome
            return failed(error)
        self._note(scrape)
        return render_scrape(scrape, wanted, headers)

    def _note(self, scrape: Scrape) -> None:
        self._samples = scrape.samples_out
        if scrape.left_out:
            self._telemetry.add("livery_proxy_series_left_out_total", scrape.left_out)
        if scrape.left_out != self._left_out:
            self._left_out = scrape.left_out
            text = "series are omitted: the client's escaping makes them equal to others"
            logger.warning(text, extra={"series": scrape.left_out})
        self._telemetry.set("livery_proxy_samples", scrape.samples_out)
        self._note_targets(scrape.results)

    def _note_targets(self, results: Sequence[TargetResult]) -> None:
        for result in results:
            url, error = result.target.url, str(result.error or "")
            if not result.is_silent:
                self._telemetry.set("livery_proxy_target_up", int(not error), target=url)
            before = self._results.get(url)
            state = TargetState(url, error, result.samples, result.is_silent)
            self._results[url] = state
            if before is not None and before.error == error:
                continue
            if error:
                logger.warning("a target failed", extra={"target": url, "reason": error})
            self.source.changed()

    def render_metrics(self) -> bytes:
        """Write the proxy's own metrics."""
        self._observe()
        return self._telemetry.render()

    def _observe(self) -> None:
        put = self._telemetry.set
        put("livery_proxy_remembered_bytes", self._scraper.cached_bytes)
        self.readiness().observe(self._telemetry, PREFIX)
        observe_process(self._telemetry)
        self.source.observe(self._telemetry, PREFIX)
        if self._forwarder is not None:
            observe_sending(self._telemetry, PREFIX, self._forwarder.state())
        if self.source.client is not None:
            put("livery_proxy_control_age_seconds", round(self.source.silence_seconds, 3))
            put("livery_proxy_control_failures_total", self.source.client.failures)

    # Policy

    def _start_policy(self) -> None:
        settings = self._settings
        if settings.policy_file is not None:
            self.source.use_file(settings.policy_file, parse_pod_policy)
            self.source.read()
            return
        bootstrap = None if settings.bootstrap is None else self._take_bootstrap(settings.bootstrap)
        if settings.control is not None:
            receiver = PodPolicyReceiver(bootstrap, reads_access=settings.filters)
            try:
                self.source.connect(settings.control, receiver)
            except LiveryError as error:
                self._faults.append(str(error))
                logger.error("a setting is invalid", extra={"reason": str(error)})

    def _take_bootstrap(self, document: Mapping[str, object]) -> PodPolicy | None:
        try:
            policy = parse_pod_policy(document, DocumentReader(Origin.STREAM))
        except LiveryError as error:
            # Until the stream sends a usable policy, no series can be exposed safely.
            self.source.fault = f"the bootstrap policy cannot be used: {error}"
            logger.error("the bootstrap cannot be used", extra={"reason": str(error)})
            return None
        self.source.take(policy)
        return policy

    def _apply(self, policy: PodPolicy) -> None:
        self.policy = policy
        self._scraper.use(policy.series)
        if policy.forwarding is not None and self._forwarder is None:
            self._forwarder = self._make_forwarder()
            self._forwards.set()
        if self._forwarder is not None:
            self._forwarder.use(policy.forwarding, policy.series.labels)

    # Forwarding

    def _make_forwarder(self) -> "PodForwarder":
        # Imported here so that a proxy that does not forward does not load it.
        from sidecar.forward.pod import PodForwarder

        forwarder = PodForwarder(self._settings.identity, self._scrape_to_forward)
        self._scraper.on_collected = forwarder.take
        return forwarder

    async def _forward(self) -> None:
        """Run the forwarder, once a policy has forwarding rules."""
        await self._forwards.wait()
        if self._forwarder is not None:
            await self._forwarder.run()

    async def _scrape_to_forward(self, wanted: Negotiated | None) -> None:
        """Scrape for the forwarder if no client did in time; `wanted` is the clients' format."""
        if self.readiness().refusal:
            return
        asked = ScrapeRequest(wanted or negotiate(_MODERN), is_written=False)
        try:
            scrape = await self.scrapes.get(asked, DEFAULT_TIMEOUT_SECONDS, "")
            self._note_targets(scrape.results)
        except BusyError as error:
            logger.warning("targets cannot be scraped for forwarding", extra={"reason": str(error)})

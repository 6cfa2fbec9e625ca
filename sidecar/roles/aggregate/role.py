"""Role `aggregate`: one endpoint for many pods, for scrapers that cannot discover pods."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Collection, Mapping, Sequence

from sidecar import VERSION
from sidecar.control.reports import ProxyState
from sidecar.errors import LiveryError
from sidecar.http.messages import Request, Response, failed, plain
from sidecar.http.server import Server
from sidecar.model.exposition.formats import Escaping, Format, Negotiated, negotiate
from sidecar.model.exposition.timeouts import DEFAULT_TIMEOUT_SECONDS, scrape_timeout
from sidecar.model.policy.series import SeriesPolicy
from sidecar.process.admin import answer_admin
from sidecar.process.logs import configure_logs
from sidecar.process.metrics import Telemetry, observe_process
from sidecar.process.ports import Listener, Ports, serve
from sidecar.process.readiness import Obstacle, Readiness, Reason
from sidecar.process.supervisor import keep_up
from sidecar.roles.aggregate.metrics import METRICS, PREFIX
from sidecar.roles.aggregate.outcomes import Outcomes
from sidecar.roles.aggregate.pods import PodSelector, Selection
from sidecar.roles.aggregate.settings import AggregateSettings, parse_aggregate_settings
from sidecar.roles.aggregate.source import make_source
from sidecar.scrape.coalescer import BusyError, ScrapeCoalescer
from sidecar.scrape.pods.answer import PodsAnswer
from sidecar.scrape.pods.scraper import PodsScraper
from sidecar.scrape.request import ScrapeRequest

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 15.0
MAX_CONNECTIONS = 64
MAX_SCRAPES = 4
"""Concurrent scrapes that differ in the client's format, escaping or timeout."""
ONCE_SECONDS = 30.0
"""How long `--once` waits for the list of pods."""
ONCE_PAUSE_SECONDS = 0.1
_JSON = "application/json"


def start(arguments: Sequence[str], environ: Mapping[str, str]) -> "AggregateRole":
    """Create the role from a command line.

    Raises:
        SettingsError: an argument is invalid, or a file or service that it names cannot be used.
    """
    settings = parse_aggregate_settings(arguments, environ)
    configure_logs("error" if settings.once else settings.log_level)
    return AggregateRole(settings, environ)


class AggregateRole:
    """One aggregate.

    Raises:
        SettingsError: the kubeconfig, the control service or the policy file cannot be used.
    """

    def __init__(self, settings: AggregateSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._telemetry = Telemetry(METRICS)
        self._telemetry.set(f"{PREFIX}_build_info", 1, version=VERSION)
        self._scraper = PodsScraper(settings.names, settings.limits)
        self._selector = PodSelector(
            settings.selector,
            settings.namespaces,
            settings.names,
            allows_local=settings.allows_local,
        )
        self._selection = Selection()
        self._is_stale = True
        """Whether pods changed since the last selection."""
        self._change = asyncio.Event()
        self.source = make_source(settings, environ, self)
        self.outcomes = Outcomes(self._telemetry, self.source.policy.changed)
        self.scrapes: ScrapeCoalescer[PodsAnswer] = ScrapeCoalescer(
            self._scraper,
            lambda: self._scraper.is_full,
            max_active=MAX_SCRAPES,
            max_of_peer=MAX_SCRAPES,
        )
        self.data = Server(self.handle_data, max_connections=MAX_CONNECTIONS)
        self.admin = Server(self.handle_admin)
        self.ports = Ports(self.source.policy.changed)

    async def run(self, stop: asyncio.Event) -> int:
        """Serve until `stop` is set, then finish requests; with `--once` print one exposition."""
        if self._settings.once:
            return await self._print_once(stop)
        listeners = (
            Listener(self.data, self._settings.port, "metrics", drain_seconds=DRAIN_SECONDS),
            Listener(self.admin, self._settings.admin_port, "admin"),
        )
        await serve(self.ports, listeners, self.source.tasks(self.report), stop)
        self._close()
        return 0

    async def handle_data(self, request: Request) -> Response:
        """Handle a request on the data port."""
        if request.path != "/metrics":
            return plain(404, "only /metrics is served here, without a trailing slash")
        if request.method != "GET":
            return plain(405, "only GET is served here")._replace(headers=(("Allow", "GET"),))
        started = time.monotonic()
        response = await self._scrape(request)
        self._telemetry.add("livery_aggregate_scrapes_total", code=str(response.status))
        self._telemetry.add(
            "livery_aggregate_scrape_duration_seconds_total", time.monotonic() - started
        )
        return response

    async def handle_admin(self, request: Request) -> Response:
        """Handle a request on the admin port."""
        if request.path == "/targets" and request.method == "GET":
            self.refresh()
            found = {
                "selector": self._settings.selector.text or "*",
                "where": self.source.where,
                "podsFrom": self._settings.pods_from,
                "trouble": self.source.trouble,
                "notGranted": list(self.source.not_granted),
                **self.outcomes.describe(self._selection),
            }
            return Response(200, json.dumps(found, indent=1).encode() + b"\n", _JSON)
        return answer_admin(request.path, self.readiness(), self._render_metrics, "/targets")

    def report(self) -> dict[str, object]:
        """Return the report to the control service."""
        self.refresh()
        faults = [*self.readiness().sentences, *self._complaints()]
        states = self.outcomes.states()
        samples = sum(state.samples for state in states)
        return self.source.policy.report(ProxyState("aggregate", faults, states, samples))

    def readiness(self) -> Readiness:
        """Return whether scrapes are served, and if not, why."""
        return Readiness.of([Obstacle(Reason.PODS, self._fault())], self.ports.faults)

    def _fault(self) -> str:
        """Return why there are no pods yet, with the cause if it is known."""
        fault, trouble = self.source.fault, self.source.trouble
        return f"{fault}: {trouble}" if fault and trouble and trouble != fault else fault

    def refresh(self) -> None:
        """Select pods again if any changed."""
        if not self._is_stale:
            return
        self._is_stale = False
        self._selection = self._selector.select(self.source.pods)
        self._scraper.set_targets(self._selection.targets)
        self.outcomes.keep_only(self._selection.targets)

    # Listener of the source

    def pods_changed(self) -> None:
        """Select pods again at the next scrape."""
        self._is_stale = True
        self._change.set()

    def use(self, policy: SeriesPolicy, namespaces: Collection[str] | None) -> None:
        """Rewrite series under a new policy."""
        self._scraper.use(policy, namespaces)

    # Internal

    async def _scrape(self, request: Request) -> Response:
        refusal = self.readiness().refusal
        if refusal:
            return plain(503, refusal)
        self.refresh()
        headers = request.headers
        asked = ScrapeRequest(negotiate(headers.get("accept", ""))._replace(fmt=Format.TEXT))
        try:
            answer = await self.scrapes.get(asked, self._timeout_seconds(headers), request.peer)
        except BusyError as error:
            return plain(503, str(error))
        except LiveryError as error:
            return failed(error)
        self._note(answer)
        return answer.respond(headers)

    def _timeout_seconds(self, headers: Mapping[str, str]) -> float:
        most = self._settings.timeout_seconds
        if most is None or "x-prometheus-scrape-timeout-seconds" not in headers:
            return most or scrape_timeout(headers)
        return min(most, scrape_timeout(headers))

    def _note(self, answer: PodsAnswer) -> None:
        self.outcomes.take(answer.outcomes)
        self._telemetry.set("livery_aggregate_samples", answer.samples)
        if answer.left_out:
            self._telemetry.add("livery_aggregate_series_left_out_total", answer.left_out)

    def _complaints(self) -> list[str]:
        found = [self.source.trouble]
        if self._selection.is_empty and not self.source.fault:
            found.append(self._selection.describe(self._settings.selector, self.source.where))
        found.append(self.outcomes.summary())
        found += map(str, self._selection.troubles)
        return [text for text in found if text]

    def _render_metrics(self) -> bytes:
        self.refresh()
        put = self._telemetry.set
        put("livery_aggregate_pods", self._selection.running)
        warned = {(item.namespace, item.pod) for item in self._selection.troubles}
        put("livery_aggregate_warned_pods", len(warned))
        put("livery_aggregate_remembered_bytes", self._scraper.size_bytes)
        put("livery_aggregate_pods_age_seconds", round(self.source.age_seconds, 3))
        put("livery_aggregate_watch_failures_total", self.source.failures)
        self.readiness().observe(self._telemetry, PREFIX)
        observe_process(self._telemetry)
        self.source.policy.observe(self._telemetry, PREFIX)
        return self._telemetry.render()

    async def _print_once(self, stop: asyncio.Event) -> int:
        following = [asyncio.create_task(keep_up(task)) for task in self.source.tasks(self.report)]
        printing = asyncio.create_task(self._print_when_listed())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((printing, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (*following, stopping, printing):
            task.cancel()
        await asyncio.wait((printing,))
        self._close()
        return 130 if printing.cancelled() else printing.result()

    async def _print_when_listed(self) -> int:
        ends = time.monotonic() + ONCE_SECONDS
        while self.source.fault and not self.source.trouble and time.monotonic() < ends:
            # New pods set the event; an error does not, so it is polled.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ONCE_PAUSE_SECONDS):
                    await self._change.wait()
        if self.source.fault:
            return _complain(self._fault(), 1)
        self.refresh()
        for trouble in self._selection.troubles:
            _complain(str(trouble), 0)
        if self._selection.is_empty:
            text = self._selection.describe(self._settings.selector, self.source.where)
            return _complain(text, 2)
        wanted = ScrapeRequest(Negotiated(Format.TEXT, Escaping.ALLOW_UTF8))
        timeout_seconds = self._settings.timeout_seconds or DEFAULT_TIMEOUT_SECONDS
        answer = await self._scraper.scrape(wanted, timeout_seconds)
        with contextlib.suppress(BrokenPipeError):
            for chunk in answer.chunks():
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return 0

    def _close(self) -> None:
        self._scraper.close()
        self.source.close()


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"livery-proxy: {sentence}\n")
    return code

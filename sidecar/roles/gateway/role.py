"""Role `gateway`: Prometheus' API for tenants."""

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sidecar.auth.users import UsersFile
from sidecar.control.keyed import KeyedPolicyReceiver
from sidecar.control.reports import ProxyState, TargetState
from sidecar.control.sending import observe_sending
from sidecar.control.source import PolicySource
from sidecar.errors import SettingsError
from sidecar.gateway.access_folder import read_access_folder
from sidecar.gateway.app import Gateway
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.callers.caller import Provider
from sidecar.gateway.callers.callers import Callers
from sidecar.gateway.callers.tokens import Tokens
from sidecar.gateway.callers.trusted import TrustedHeader
from sidecar.gateway.callers.users import Users
from sidecar.gateway.limits import Limiter
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.gateway.tenants import Views
from sidecar.http.messages import Request, Response
from sidecar.http.server import Server
from sidecar.http.tls import ServedCertificate
from sidecar.model.policy.gateway import GATEWAY_KEYS, GatewayChange, parse_gateway_policy
from sidecar.process.admin import answer_admin
from sidecar.process.logs import configure_logs
from sidecar.process.metrics import observe_process
from sidecar.process.ports import Listener, Ports, serve
from sidecar.process.readiness import Obstacle, Readiness, Reason
from sidecar.roles.gateway.metrics import PREFIX, GatewayMetrics
from sidecar.roles.gateway.settings import GatewaySettings, check_files, parse_gateway_settings

if TYPE_CHECKING:
    from sidecar.forward.collector import Collector
    from sidecar.model.policy.collector import CollectorChange

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 500
DRAIN_SECONDS = 30.0
LINGER_SECONDS = 5.0
FLUSH_SECONDS = 10.0
_JSON = "application/json"


def start(arguments: Sequence[str], environ: Mapping[str, str]) -> "GatewayRole":
    """Create the role from a command line.

    Raises:
        SettingsError: an argument is invalid, or a file or service that it names cannot be used.
    """
    settings = parse_gateway_settings(arguments, environ)
    check_files(settings.backend)
    configure_logs(settings.log_level)
    return GatewayRole(settings)


class GatewayRole:
    """One gateway.

    Raises:
        SettingsError: the users, the rules or the certificate cannot be used.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        for note in settings.notes:
            logger.warning("a setting has no effect here", extra={"reason": note})
        limiter = Limiter(*settings.limits, active=settings.active)
        self.policy: PolicySource[GatewayChange] = PolicySource(self._use)
        self._metrics = GatewayMetrics(self.policy.changed)
        self.backends = BackendGroup(
            settings.backend, settings.timeout_seconds, self.policy.changed, self._metrics.asked
        )
        self.backends.use(settings.backends)
        self._users = UsersFile(settings.users_file) if settings.users_file else None
        self._callers = Callers(self._providers())
        self.gateway = Gateway(
            self._callers,
            self.backends,
            limiter,
            self._metrics,
            staleness=self._staleness,
            fills_gaps=settings.fills_gaps,
            pause_seconds=settings.timeout_seconds,
        )
        self._collected: PolicySource[CollectorChange] | None = None
        self._collector = self._make_collector()
        self._read_policy_file()
        self._say_what_is_known()
        self._certificate = (
            ServedCertificate(settings.certificate, settings.key)
            if settings.certificate and settings.key
            else None
        )
        self.data = Server(self.gateway.handle, max_connections=MAX_CONNECTIONS, keeps_bodies=True)
        self.admin = Server(self.handle_admin)
        self.ports = Ports()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish requests in flight."""
        settings = self._settings
        tls: ssl.SSLContext | None = None
        tasks: list[Callable[[], Awaitable[None]]] = [self.backends.watch]
        if self._certificate is not None:
            tls = self._certificate.tls
            tasks.append(self._certificate.follow)
        listeners = (
            Listener(self.data, settings.port, "queries", tls, DRAIN_SECONDS, "--port"),
            Listener(self.admin, settings.admin_port, "admin", flag="--admin-port"),
        )
        work = [*tasks, *self.policy.tasks(self._report)]
        if self._collector is not None and self._collected is not None:
            client = self._collected.client
            work += [self._collector.run, *([] if client is None else [client.run])]
        # In a cluster, clients learn with a delay that this pod is terminating.
        linger_seconds = 0.0 if settings.control is None else LINGER_SECONDS
        await serve(self.ports, listeners, work, stop, linger_seconds=linger_seconds)
        if self._collector is not None:
            await self._collector.flush(FLUSH_SECONDS)
        self.backends.close()

    async def handle_admin(self, request: Request) -> Response:
        """Handle a request on the admin port."""
        if request.path == "/health":
            return _answer(self._health())
        if request.path in ("/debug/targets", "/debug/tenants"):
            try:
                await self._admit_admin(request)
            except Refusal as refusal:
                return refusal.respond()
            shown = self._targets() if request.path == "/debug/targets" else self._tenants()
            return _answer(shown)
        others = ("/health", "/debug/targets", "/debug/tenants")
        return answer_admin(request.path, self.readiness(), self._render, *others)

    async def _admit_admin(self, request: Request) -> None:
        caller = await self._callers.authenticate(request.headers, request.peer)
        if not await caller.may_read(request.path):
            raise Refusal(Cause.TENANT, 403, f"{caller.name} may not read {request.path}")

    def readiness(self) -> Readiness:
        """Return whether queries are served, and if not, why."""
        unknown = "" if self.backends.backends else "no Prometheus backend is known"
        obstacles = (
            Obstacle(Reason.POLICY, self.gateway.fault),
            Obstacle(Reason.BACKENDS, unknown),
            Obstacle(
                Reason.STOPPING, "the proxy is shutting down" if self.ports.is_stopping else ""
            ),
        )
        return Readiness.of(obstacles, self.ports.faults)

    def _make_collector(self) -> "Collector | None":
        """Create the collector and its policy source; None if nothing is collected."""
        settings = self._settings.collector
        if settings is None:
            return None
        # Imported here so that a gateway that does not collect does not load it.
        from sidecar.forward.collector import Collector
        from sidecar.model.policy.collector import COLLECTOR_KEYS

        def use(change: "CollectorChange") -> None:
            collector.use(change.policy)
            self.policy.changed()  # the reports go out with the gateway's own stream

        source: PolicySource[CollectorChange] = PolicySource(use)
        collector = Collector(self.backends, lambda: self._staleness_of(source))
        source.connect(settings, KeyedPolicyReceiver(COLLECTOR_KEYS))
        self._collected = source
        return collector

    def _providers(self) -> list[Provider]:
        """Create the providers that authenticate callers."""
        settings, found = self._settings, list[Provider]()
        if settings.trusted_sources:
            found.append(TrustedHeader(settings.trusted_header, settings.trusted_sources))
        if settings.control is not None:
            client = self.policy.connect(settings.control, KeyedPolicyReceiver(GATEWAY_KEYS))
            found.append(Tokens(client.ask))
        if self._users is not None:
            found.append(Users(self._users))
        return found

    def _say_what_is_known(self) -> None:
        """Log what the files contain, because a misspelled name silently selects nothing."""
        if self._settings.control is not None:
            return
        rules = self.gateway.views.rules
        counts = {"tenants": len(rules), "rules": sum(map(len, rules.values()))}
        logger.info("access rules", extra=counts)
        if not any(rules.values()):
            logger.warning("there are no access rules: every result is empty")
        named = self._users.tenants if self._users is not None else frozenset[str]()
        for name in sorted(named - set(rules)):
            logger.warning("a user's tenant has no access rules", extra={"tenant": name})

    def _read_policy_file(self) -> None:
        settings = self._settings
        if settings.access_folder is not None:
            load = partial(read_access_folder, grants_all=settings.access_grants_all)
            self.policy.use_file(settings.access_folder, parse_gateway_policy, load)
        elif settings.policy_file is not None:
            self.policy.use_file(settings.policy_file, parse_gateway_policy)
        self.policy.read()
        if self.policy.fault:
            flag = "--policy" if settings.access_folder is None else "--access"
            raise SettingsError(f"{flag}: {self.policy.fault}")

    def _staleness(self) -> str:
        return self._staleness_of(self.policy)

    def _staleness_of(self, source: PolicySource[Any]) -> str:
        seconds = source.uncertain_seconds
        if seconds <= self._settings.max_policy_age_seconds:
            return ""
        return f"the access rules may be out of date: not confirmed for {seconds:.0f} s"

    def _report(self) -> dict[str, object]:
        """Return the report to the control service."""
        backends = self.backends.backends
        states = [TargetState(backend.url, backend.error, 0) for backend in backends]
        faults = list(self.readiness().sentences)
        if self._users is not None and self._users.fault:
            faults.append(self._users.fault)
        if self._collected is not None and self._collected.client is not None:
            # Keys that cannot be read, or a stale policy, for instance if the role is refused.
            client = self._collected.client
            stale = self._staleness_of(self._collected)
            faults += [f"collecting: {text}" for text in (client.policy_error, stale) if text]
        sending = () if self._collector is None else self._collector.state()
        state = ProxyState("gateway", faults, states, 0, self._metrics.notes(), sending)
        return self.policy.report(state)

    def _use(self, change: GatewayChange) -> None:
        policy = change.policy
        settings = self._settings
        views = Views(
            policy.tenants, settings.namespace_label, refuses_unseen=settings.refuses_unseen
        )
        self.gateway.use(views)
        if policy.knows_backends:
            told = sorted(policy.backends.values())
            for problem in self.backends.use([*settings.backends, *told]):
                logger.error("a backend cannot be used", extra={"reason": problem})

    def _render(self) -> bytes:
        telemetry = self._metrics.telemetry
        self.readiness().observe(telemetry, PREFIX)
        observe_process(telemetry)
        self.policy.observe(telemetry, PREFIX)
        if self._collector is not None:
            observe_sending(telemetry, PREFIX, self._collector.state())
        return self._metrics.render(self.backends, len(self.gateway.views.rules))

    def _health(self) -> dict[str, object]:
        backends, fault = self.backends.backends, self.gateway.fault
        return {
            "status": "unhealthy" if fault else "healthy",
            **({"error": fault} if fault else {}),
            "targets": len(backends),
            "healthy_targets": sum(backend.is_up for backend in backends),
            "tenants": len(self.gateway.views.rules),
        }

    def _targets(self) -> list[dict[str, object]]:
        return [
            {
                "url": backend.url,
                "healthy": backend.is_up,
                "error": backend.error,
                "last_seen": _shown_time(backend.seen_at),
            }
            for backend in self.backends.backends
        ]

    def _tenants(self) -> list[dict[str, object]]:
        return [
            {
                "id": f"{namespace}/{rule.name}",
                "name": rule.name,
                "namespace": namespace,
                "rules": [pattern.text for pattern in rule.patterns],
            }
            for namespace, rules in sorted(self.gateway.views.rules.items())
            for rule in rules
        ]


def _answer(shown: object) -> Response:
    return Response(200, json.dumps(shown, indent=1).encode() + b"\n", _JSON)


def _shown_time(stamp: float | None) -> str | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC).isoformat()

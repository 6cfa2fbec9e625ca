"""Assembles the injector: source of objects, policy hub, web apps and their certificates."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace

from webhook_certs.authority import fingerprint
from webhook_certs.rotation import Material

from injector.app.certificates import Certificates
from injector.control.backend import Backend
from injector.control.hub import PolicyHub
from injector.control.journal import Journal
from injector.control.metric_access_log import MetricAccessLog
from injector.files.rules import read_rules
from injector.platform.settings import Platform
from injector.web.admission import AdmissionContext, build_admission_app
from injector.web.control import ControlContext, build_control_app
from injector.web.health import build_health_app
from injector.web.metrics import InjectorMetrics
from injector.web.servers import AppServer, PortBudget
from injector.web.status.app import build_status_app
from injector.web.status.view import CertificateFacts, Sources
from sidecar.http.handshakes import HandshakeBudget
from sidecar.http.listener import open_socket
from sidecar.model.labels.relabel import Rule
from sidecar.process.supervisor import keep_up

_LOOPBACK = "127.0.0.1"
_LOOK_SECONDS = 1.0
_RESTART_SECONDS = 30.0

_CONTROL_BUDGET = PortBudget(20_000, HandshakeBudget(queued=10_000))
"""Twice the number of proxies that one replica is designed for; all may connect at once."""
_FEW = PortBudget(connections=64)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Names, addresses and ports of the injector."""

    names: Sequence[str]
    """DNS names and addresses of the injector; the first is the Service's."""
    host: str = ""
    """Address to listen on; empty for all."""
    admission_port: int = 8443
    control_port: int = 8444
    metrics_port: int = 9090
    status_port: int | None = None
    """Port of the status page, on loopback only; None disables it."""
    drain_seconds: float = 0.0
    """How long to keep serving after the stop signal: clients of a Service notice it late."""


class Service:
    """One injector, for a cluster or a folder of manifests."""

    def __init__(
        self,
        settings: ServiceSettings,
        platform: Platform,
        backend: Backend,
        metrics: InjectorMetrics | None = None,
    ) -> None:
        self.cluster = backend.cluster
        self.metrics = metrics or InjectorMetrics()
        self.journal = Journal()
        self.cluster.listeners.append(self.journal.ring)
        self.hub = PolicyHub(self.cluster, platform)
        self.hub.listeners.append(self.journal.ring)
        self._access_log = MetricAccessLog(self.cluster, platform)
        self.admission = AdmissionContext(self.cluster, platform, self.metrics, self.journal)
        self.control = ControlContext(
            self.hub,
            backend.authenticator,
            platform,
            self.metrics,
            backend.reviewer,
            self.journal,
            replica_account=backend.replica_account,
            has_read=backend.source.has_read,
            pods=backend.pods,
        )
        self.control.proxies.listeners.append(self.journal.ring)
        self.sources = Sources(
            cluster=self.cluster,
            proxies=self.control.proxies,
            journal=self.journal,
            platform=platform,
            replica=socket.gethostname(),
            certificates=lambda: self._certificate_facts,
            problems=lambda: [*self._problems(), *backend.troubles()],
        )
        self._certificate_facts: CertificateFacts | None = None
        self._certificates = Certificates(backend, settings.names, self._announce)
        self._source = backend.source
        self._background_tasks = [*backend.background_tasks]
        if backend.follow_address is not None:
            follow = backend.follow_address
            self._background_tasks.append(lambda: follow(self._use_address))
        proxies = self.control.proxies
        if backend.follow_replicas is not None:
            ask = backend.follow_replicas
            proxies.expect()
            self._background_tasks.append(lambda: ask(self._trust, proxies))
        if backend.write_status is not None:
            write = backend.write_status
            self._background_tasks.append(lambda: write(proxies))
        if backend.follow_pods is not None:
            look = backend.follow_pods
            self._background_tasks.append(lambda: look(proxies))
        self._settings = settings
        self._servers: list[AppServer] = []
        self._is_stopping = False
        self._answers = False
        """Whether a TLS connection to the admission port, by the Service's name, succeeded."""

    def open(self) -> None:
        """Open the source, issue the certificate and open the ports.

        Raises:
            SettingsError: the source does not exist.
            CertificateError: no certificate can be issued or stored.
            OSError: a port is in use.
        """
        self._source.open()
        self._observe()
        self._certificates.open()
        settings, tls = self._settings, self._certificates.tls
        for app, port, context, budget in (
            (build_admission_app(self.admission), settings.admission_port, tls, PortBudget()),
            (build_control_app(self.control), settings.control_port, tls, _CONTROL_BUDGET),
            (build_health_app(self.metrics, self._unready), settings.metrics_port, None, _FEW),
        ):
            listener = open_socket(settings.host, port)
            self._servers.append(AppServer(app, listener, context, budget))
        if settings.status_port is not None:
            page = build_status_app(self.sources, _read_played_rules)
            self._servers.append(
                AppServer(page, open_socket(_LOOPBACK, settings.status_port), None)
            )

    @property
    def ports(self) -> tuple[int, int, int]:
        """Admission, control and metrics port."""
        admission, control, metrics, *_ = (server.port for server in self._servers)
        return admission, control, metrics

    @property
    def status_port(self) -> int:
        """Port of the status page; 0 if it is disabled."""
        return 0 if self._settings.status_port is None else self._servers[-1].port

    def use_platform(self, platform: Platform) -> None:
        """Replace the platform's settings; only before `run`."""
        self.admission.platform = self.control.platform = self.sources.platform = platform
        self.hub.use_platform(platform)
        self._access_log.use_platform(platform)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow_source()),
                group.create_task(self._certificates.run()),
                group.create_task(self._look_at_itself()),
            ]
            tasks += [
                group.create_task(keep_up(task, _RESTART_SECONDS))
                for task in self._background_tasks
            ]
            closing = asyncio.Event()
            servers = [group.create_task(server.run_until(closing)) for server in self._servers]
            await stop.wait()
            self._is_stopping = True
            await asyncio.sleep(self._settings.drain_seconds)
            closing.set()
            self.hub.close_all()
            self.journal.close()
            await asyncio.wait(servers)
            for task in tasks:
                task.cancel()
            if self.control.pods is not None:
                self.control.pods.close()

    def _trust(self) -> str:
        return self._certificates.material.bundle_pem

    def _use_address(self, address: str) -> None:
        """Use a new address of the control service for pods injected from now on."""
        platform = self.admission.platform
        if platform.control is not None:
            self.admission.platform = with_control_port(platform, platform.control.url, address)

    async def _follow_source(self) -> None:
        async for _ in self._source.changes():
            self._observe()

    def _observe(self) -> None:
        self.journal.ring()
        self._access_log.write()
        self.metrics.problems.set(len(self._problems()))

    async def _look_at_itself(self) -> None:
        """Connect to the webhook like the API server, without the Service: it needs readiness."""
        host = self._settings.host or _LOOPBACK
        while not self._answers:
            trust = ssl.create_default_context(cadata=self._certificates.material.bundle_pem)
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(
                    host, self.ports[0], ssl=trust, server_hostname=self._settings.names[0]
                )
                writer.close()
                self._answers = True
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _announce(self, material: Material) -> None:
        self.admission.ca_bundle = material.bundle_pem
        self._certificate_facts = CertificateFacts(
            leaf_ends=material.leaf.not_after,
            authority_ends=material.authority_not_after,
            fingerprint=fingerprint(material.bundle_pem),
            names=self._settings.names,
        )
        self.journal.ring()
        self.hub.publish_ca_bundle(material.bundle_pem)
        expiry = self.metrics.certificate_expiry
        expiry.labels("leaf").set(material.leaf.not_after.timestamp())
        expiry.labels("authority").set(material.authority_not_after.timestamp())

    def _problems(self) -> Sequence[str]:
        """Return what is failing now, one sentence each."""
        published = self._certificates.problem
        return [*self._source.problems(), *([published] if published else [])]

    def _unready(self) -> str:
        if self._is_stopping:
            return "the injector is shutting down"
        own = "" if self._answers else "the webhook does not answer on its own port yet"
        return own or self._source.unready() or self._certificates.unready()


def _read_played_rules(text: str) -> tuple[Rule, ...]:
    return read_rules(text, "rules")


def with_control_port(platform: Platform, url: str, address: str) -> Platform:
    """Return the settings with another URL and address of the control service."""
    if platform.control is None:
        return platform
    return replace(platform, control=replace(platform.control, url=url, address=address))

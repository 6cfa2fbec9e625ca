"""The injector put together: a source of objects, the hub, the apps and their certificates."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from webhook_certs.authority import fingerprint
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Material, Rotation
from webhook_certs.stores import FolderStore
from webhook_certs.tls import create_server_context, use_leaf

from injector.control.access_log import AccessLog
from injector.control.hub import PolicyHub
from injector.control.journal import Journal
from injector.errors import SettingsError
from injector.files.identity import FolderAuthenticator
from injector.files.rules import read_rules
from injector.files.watcher import FolderWorld
from injector.model.settings import Platform
from injector.model.world import World
from injector.web.admission import AdmissionContext, build_admission_app
from injector.web.control import ControlContext, build_control_app
from injector.web.health import build_health_app
from injector.web.metrics import InjectorMetrics
from injector.web.servers import AppServer, listen
from injector.web.status.app import build_status_app
from injector.web.status.view import Certificates, Sources
from sidecar.model.relabel import Rule

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Where the injector reads from and listens."""

    manifests: Path
    """A folder of manifests, or one file, that plays the cluster."""
    tokens: Path
    """A folder `<namespace>/<pod>` of tokens by which proxies are known."""
    certificates: Path
    """The folder in which the CA is kept."""
    names: Sequence[str]
    """DNS names and addresses under which the injector is reached."""
    host: str = ""
    """Address to listen on; empty for all."""
    admission_port: int = 8443
    control_port: int = 8444
    metrics_port: int = 9090
    status_port: int | None = None
    """On the loopback only; None for no status page."""


class Service:
    """One injector on a folder of manifests."""

    def __init__(self, settings: ServiceSettings, platform: Platform) -> None:
        self.world = World()
        self.metrics = InjectorMetrics()
        self.folder = FolderWorld(settings.manifests, self.world)
        self.journal = Journal()
        self.world.listeners.append(self.journal.ring)
        self.hub = PolicyHub(self.world, platform)
        self.hub.listeners.append(self.journal.ring)
        self._access_log = AccessLog(self.world, platform)
        self.admission = AdmissionContext(self.world, platform, self.metrics, self.journal)
        authenticator = FolderAuthenticator(settings.tokens)
        self.control = ControlContext(self.hub, authenticator, platform, self.metrics, self.journal)
        self.sources = Sources(
            world=self.world,
            hub=self.hub,
            reports=self.control.reports,
            journal=self.journal,
            platform=platform,
            replica=socket.gethostname(),
            certificates=lambda: self._certificates,
            broken_files=lambda: [str(error) for error in self.folder.errors.values()],
        )
        self._certificates: Certificates | None = None
        self._rotation = Rotation(FolderStore(settings.certificates), settings.names)
        self._settings = settings
        self._servers: list[AppServer] = []
        self._tls: ssl.SSLContext

    def open(self) -> None:
        """Read the folder, make certificates, open the ports.

        Raises:
            SettingsError: there is nothing to read from.
            CertificateError: no certificate can be made or kept.
            OSError: a port is taken.
        """
        if not self._settings.manifests.exists():
            raise SettingsError(f"{self._settings.manifests}: there is no such folder or file")
        self.folder.refresh()
        self._observe()
        material = self._rotation.issue(datetime.now(UTC))
        self._tls = create_server_context(material.leaf)
        self._announce(material)
        self._renew_at = material.renew_at
        settings = self._settings
        for app, port, tls in (
            (build_admission_app(self.admission), settings.admission_port, self._tls),
            (build_control_app(self.control), settings.control_port, self._tls),
            (build_health_app(self.metrics, self._unready), settings.metrics_port, None),
        ):
            self._servers.append(AppServer(app, listen(settings.host, port), tls))
        if settings.status_port is not None:
            page = build_status_app(self.sources, _read_played_rules)
            self._servers.append(AppServer(page, listen(_LOOPBACK, settings.status_port), None))

    @property
    def ports(self) -> tuple[int, int, int]:
        """Admission, control and metrics port."""
        admission, control, metrics, *_ = (server.port for server in self._servers)
        return admission, control, metrics

    @property
    def status_port(self) -> int:
        """Port of the status page; 0 where there is none."""
        return 0 if self._settings.status_port is None else self._servers[-1].port

    def use_platform(self, platform: Platform) -> None:
        """Decide by other settings from now on; before `run` only."""
        self.admission.platform = self.control.platform = self.sources.platform = platform
        self.hub.use_platform(platform)
        self._access_log.use_platform(platform)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow_folder()),
                group.create_task(self._renew_certificates()),
            ]
            servers = [group.create_task(server.run_until(stop)) for server in self._servers]
            await stop.wait()
            self.hub.close_all()
            self.journal.close()
            await asyncio.wait(servers)
            for task in tasks:
                task.cancel()

    async def _follow_folder(self) -> None:
        async for _ in self.folder.changes():
            self._observe()

    def _observe(self) -> None:
        self.journal.ring()
        self._access_log.write()
        self.metrics.broken_files.set(len(self.folder.errors))

    async def _renew_certificates(self) -> None:
        while True:
            left = (self._renew_at - datetime.now(UTC)).total_seconds()
            await asyncio.sleep(max(1.0, left))
            try:
                material = self._rotation.issue(datetime.now(UTC))
                use_leaf(self._tls, material.leaf)
            except (CertificateError, OSError) as error:
                logger.error("no new certificate; trying again", extra={"reason": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._announce(material)
            self._renew_at = material.renew_at
            logger.info("certificate renewed", extra={"until": material.leaf.not_after.isoformat()})

    def _announce(self, material: Material) -> None:
        self.admission.authorities = material.bundle_pem
        self._certificates = Certificates(
            leaf_ends=material.leaf.not_after,
            authority_ends=material.authority_not_after,
            fingerprint=fingerprint(material.bundle_pem),
            names=self._settings.names,
        )
        self.journal.ring()
        self.hub.announce_authorities(material.bundle_pem)
        expiry = self.metrics.certificate_expiry
        expiry.labels("leaf").set(material.leaf.not_after.timestamp())
        expiry.labels("authority").set(material.authority_not_after.timestamp())

    def _unready(self) -> str:
        if not self._settings.manifests.exists():
            return f"{self._settings.manifests} is gone; its last state is in force"
        return ""


def _read_played_rules(text: str) -> tuple[Rule, ...]:
    return read_rules(text, "rules")


def with_control_port(platform: Platform, url: str, address: str) -> Platform:
    """Return the settings with the control service at another place."""
    if platform.control is None:
        return platform
    return replace(platform, control=replace(platform.control, url=url, address=address))

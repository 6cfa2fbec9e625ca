"""The targets of a node, refreshed on request when the last ones are too old."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sidecar.errors import DocumentError, LiveryError, RuleError, SettingsError
from sidecar.kubelet.discovery.client import PodsClient
from sidecar.model.pods.discovery_settings import DiscoverySettings, parse_discovery_settings
from sidecar.model.pods.http_sd import DiscoveredTarget, discover
from sidecar.model.pods.pod_list import Pod
from sidecar.process.documents import read_document, stamp

MAX_SETTINGS_BYTES = 1 << 20
NamespaceLabels = Mapping[str, Mapping[str, str]]
Complete = Callable[[DiscoverySettings], DiscoverySettings]
"""Fills in what a document omits."""


def read_discovery_settings(path: Path) -> DiscoverySettings:
    """Read a file of discovery arguments.

    Raises:
        SettingsError: it cannot be read or is invalid; names the file and the argument.
    """
    try:
        document = read_document(path, MAX_SETTINGS_BYTES)
    except DocumentError as error:
        raise SettingsError(str(error)) from error
    try:
        return parse_discovery_settings(document)
    except RuleError as error:
        raise SettingsError(f"{path}: {error}") from error


class Discovery:
    """One kubelet's targets.

    A failing kubelet or invalid arguments make it unhealthy; `last_targets` still returns the last
    good targets.

    Args:
        file: contains the arguments; reloaded when it or a certificate file changes. None for the
            defaults.
        complete: fills in what the document omits.
    """

    def __init__(self, file: Path | None, complete: Complete = lambda settings: settings) -> None:
        self._file = file
        self._complete = complete
        self._lock = asyncio.Lock()
        self._settings = DiscoverySettings()
        self._stamps: list[tuple[int, int]] = []
        self._client: PodsClient | None = None
        self._asked_at = float("-inf")
        self._pods: tuple[Pod, ...] | None = None
        self._error: LiveryError | None = None

    @property
    def refresh_interval_seconds(self) -> float:
        """Maximum age of targets."""
        return self._settings.refresh_interval_seconds

    @property
    def is_healthy(self) -> bool:
        """Whether the last refresh succeeded."""
        return self._pods is not None and self._error is None

    async def targets(self, labels: NamespaceLabels | None = None) -> list[DiscoveredTarget]:
        """Return the current targets; refreshes them if they are too old.

        Args:
            labels: the labels of each namespace.

        Raises:
            LiveryError: the last refresh failed; says why.
        """
        async with self._lock:
            age = time.monotonic() - self._asked_at
            if age >= self._settings.refresh_interval_seconds or self._have_changed():
                await self._refresh()
        if self._error is not None:
            raise self._error
        return self.last_targets(labels) or []

    def last_targets(self, labels: NamespaceLabels | None = None) -> list[DiscoveredTarget] | None:
        """Return the last good targets; None before the first successful refresh."""
        if self._pods is None:
            return None
        return discover(self._pods, self._settings.namespaces, labels)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _refresh(self) -> None:
        try:
            if self._client is None or self._have_changed():
                await self._configure()
            if self._client is not None:
                self._pods = await self._client.fetch()
            self._error = None
        except LiveryError as error:
            self._error = error
        self._asked_at = time.monotonic()

    async def _configure(self) -> None:
        await self.close()
        self._stamps = self._stat()
        settings = DiscoverySettings()
        if self._file is not None:
            settings = read_discovery_settings(self._file)
        self._settings = self._complete(settings)
        self._stamps = self._stat()
        self._client = PodsClient(self._settings)

    def _have_changed(self) -> bool:
        return self._stat() != self._stamps

    def _stat(self) -> list[tuple[int, int]]:
        given = self._settings
        tls = [given.tls, *([given.oauth2.tls] if given.oauth2 is not None else [])]
        names = [name for one in tls for name in (one.ca_file, one.cert_file, one.key_file)]
        files = [Path(name) for name in names if name]
        return [stamp(file) for file in ([self._file, *files] if self._file else files)]

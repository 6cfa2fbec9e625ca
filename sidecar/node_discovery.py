"""`/targets`: the pods of a node for Prometheus' HTTP service discovery."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sidecar.answers import failed, takes_gzip
from sidecar.errors import LiveryError
from sidecar.kubelet import KubeletSettings
from sidecar.messages import Request, Response
from sidecar.model.discovery import DiscoveredTarget, render_http_sd
from sidecar.model.discovery_settings import DEFAULT_URL, DiscoverySettings, TlsSettings

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    pass


class NodeDiscovery:
    """Answers with the targets of this node's kubelet.

    Args:
        file: arguments as Alloy has them; None for none. What it leaves out about the kubelet is
            as for its metrics.
        kubelet: how its metrics are asked for.
    """

    def __init__(self, file: Path | None, kubelet: KubeletSettings) -> None:
        # Imported only here: httpx is 10 MB that a proxy without discovery does not need.
        from sidecar.discovery.source import Discovery

        self._kubelet = kubelet
        self._said = ""
        self._source: Discovery = Discovery(file, self._complete)

    @property
    def is_healthy(self) -> bool:
        """Whether targets could be told the last time."""
        return self._source.is_healthy

    async def answer(self, request: Request, labels: Mapping[str, Mapping[str, str]]) -> Response:
        """Tell the targets; who asks for `?stale=true` takes the last good ones where need be."""
        try:
            targets = await self._source.targets(labels)
            self._said = ""
            return _render(request, targets)
        except LiveryError as error:
            if str(error) != self._said:
                self._said = str(error)
                logger.warning("targets cannot be discovered", extra={"reason": self._said})
            last = self._source.last_targets(labels)
            if last is not None and parse_qs(request.query).get("stale") == ["true"]:
                return _render(request, last)
            # Never an empty list: Prometheus keeps what it has as long as it gets none.
            return failed(error)

    async def close(self) -> None:
        """Drop the connections."""
        await self._source.close()

    def _complete(self, settings: DiscoverySettings) -> DiscoverySettings:
        """Ask this node's kubelet as this proxy, where the arguments name neither."""
        if settings.url != DEFAULT_URL:
            return settings
        kubelet = self._kubelet
        settings = replace(settings, url=kubelet.url)
        ways = (
            settings.bearer_token, settings.bearer_token_file, settings.basic_auth,
            settings.authorization, settings.oauth2,
        )  # fmt: skip
        if not any(ways) and kubelet.token_file is not None:
            settings = replace(settings, bearer_token_file=str(kubelet.token_file))
        if settings.tls == TlsSettings():
            authorities = kubelet.authorities_file
            tls = TlsSettings(
                ca_file=str(authorities) if authorities is not None else "",
                insecure_skip_verify=not kubelet.is_verified,
            )
            settings = replace(settings, tls=tls)
        return settings


def _render(request: Request, targets: list[DiscoveredTarget]) -> Response:
    body, kind = render_http_sd(targets), "application/json"
    vary = ("Vary", "Accept-Encoding")
    if not takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(200, body, kind, (vary,))
    from isal import igzip

    return Response(200, bytes(igzip.compress(body, 1)), kind, (vary, ("Content-Encoding", "gzip")))

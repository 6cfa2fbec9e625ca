"""`/targets`: HTTP service discovery for Prometheus, of the pods of one node or of all."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from sidecar.errors import LiveryError, SettingsError
from sidecar.http.messages import Request, Response, failed
from sidecar.http.negotiation import compress, takes_gzip
from sidecar.kubelet.client import KubeletSettings
from sidecar.model.pods.discovery_settings import DEFAULT_URL, DiscoverySettings
from sidecar.model.pods.http_sd import DiscoveredTarget, render_http_sd

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from sidecar.kubelet.discovery.source import Discovery

MAX_QUESTIONS = 32
"""Kubelets that are queried concurrently."""
NamespaceLabels = Mapping[str, Mapping[str, str]]


class _Source(NamedTuple):
    """One node's discovery, and the kubelet URL that it uses."""

    url: str
    discovery: "Discovery"


class NodeDiscovery:
    """Serves the targets of kubelets.

    Args:
        file: arguments of Alloy's `discovery.kubelet`; None for the defaults. What it omits about
            the kubelet is taken from the metrics settings.
        kubelet_of: returns the metrics settings for a node's kubelet; the empty name means the
            only node.
    """

    def __init__(self, file: Path | None, kubelet_of: Callable[[str], KubeletSettings]) -> None:
        # Imported only here: httpx is 10 MB that a proxy without discovery does not need.
        from sidecar.kubelet.discovery.source import Discovery

        self._new = Discovery
        self._file = file
        self._kubelet_of = kubelet_of
        self._sources: dict[str, _Source] = {}
        self._said = ""
        self._question_slots = asyncio.Semaphore(MAX_QUESTIONS)

    @property
    def is_healthy(self) -> bool | None:
        """Whether the last request succeeded for all its nodes; None before the first one."""
        return not self._said if self._sources else None

    async def answer(
        self, request: Request, nodes: Sequence[str], labels: NamespaceLabels
    ) -> Response:
        """Serve the targets of nodes.

        If one kubelet fails, the whole response is an error, so that Prometheus keeps its targets.
        With `?stale=true`, the last good targets of failing kubelets are served instead.
        """
        takes_stale = parse_qs(request.query).get("stale") == ["true"]
        found = await asyncio.gather(*(self._ask(node, labels) for node in nodes))
        errors = [error for _, error in found if error is not None]
        self._say(errors)
        targets = [target for told, _ in found for target in told or ()]
        # Never an empty list just because no kubelet answered.
        if errors and (not takes_stale or all(told is None for told, _ in found)):
            return failed(errors[0])
        try:
            return _render(request, targets)
        except LiveryError as error:
            return failed(error)

    async def forget_others(self, nodes: Sequence[str]) -> None:
        """Forget nodes that are not in the list, and close their connections."""
        for node in set(self._sources) - set(nodes):
            await self._sources.pop(node).discovery.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.forget_others(())

    async def _ask(
        self, node: str, labels: NamespaceLabels
    ) -> tuple[list[DiscoveredTarget] | None, LiveryError | None]:
        """Return a node's targets and no error, or its last good targets and the error."""
        async with self._question_slots:
            try:
                discovery = await self._source(node)
            except LiveryError as error:  # the node was removed meanwhile
                return None, error
            try:
                return await discovery.targets(labels), None
            except LiveryError as error:
                return discovery.last_targets(labels), error

    async def _source(self, node: str) -> "Discovery":
        url = self._kubelet_of(node).url
        before = self._sources.get(node)
        if before is None or before.url != url:
            found = _Source(url, self._new(self._file, self._completion(node)))
            self._sources[node] = found
            if before is not None:
                await before.discovery.close()  # the node may be forgotten during this
            return found.discovery
        return before.discovery

    def _say(self, errors: Sequence[LiveryError]) -> None:
        said = str(errors[0]) if errors else ""
        if said and said != self._said:
            extra = {"reason": said, "kubelets": len(errors)}
            logger.warning("targets cannot be discovered", extra=extra)
        self._said = said

    def _completion(self, node: str) -> Callable[[DiscoverySettings], DiscoverySettings]:
        def complete(settings: DiscoverySettings) -> DiscoverySettings:
            if node and settings.url != DEFAULT_URL:
                raise SettingsError("url must not be set with --all-nodes: each node has its own")
            return _complete(settings, self._kubelet_of(node))

        return complete


def _complete(settings: DiscoverySettings, kubelet: KubeletSettings) -> DiscoverySettings:
    """Fill in URL, credentials and CA from this proxy's settings where the arguments omit them."""
    if settings.url != DEFAULT_URL:
        return settings  # another server, which must not get this proxy's token
    settings = replace(settings, url=kubelet.url.rstrip("/"))
    ways = (
        settings.bearer_token, settings.bearer_token_file, settings.basic_auth,
        settings.authorization, settings.oauth2,
    )  # fmt: skip
    if not any(ways) and kubelet.token_file is not None:
        settings = replace(settings, bearer_token_file=str(kubelet.token_file))
    tls = settings.tls
    if not (tls.ca_file or tls.ca_pem or tls.insecure_skip_verify):
        ca_bundle = kubelet.ca_file
        tls = replace(
            tls,
            ca_file=str(ca_bundle) if ca_bundle is not None else "",
            insecure_skip_verify=not kubelet.is_verified,
        )
    return replace(settings, tls=tls)


def _render(request: Request, targets: list[DiscoveredTarget]) -> Response:
    body, kind = render_http_sd(targets), "application/json"
    vary = ("Vary", "Accept-Encoding")
    if not takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(200, body, kind, (vary,))
    return Response(200, compress(body), kind, (vary, ("Content-Encoding", "gzip")))

"""Discovers gateways' Prometheus servers by watching Services, Pods or EndpointSlices."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from injector.errors import ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.reflector import Reflector, Resource
from injector.model.cluster.backends import backend_urls
from injector.model.cluster.objects import name_of, namespace_of
from injector.model.cluster.state import ClusterState
from injector.platform.settings import BackendDiscovery, BackendKind

logger = logging.getLogger(__name__)

MAX_BACKENDS = 500
_APIS = {
    BackendKind.SERVICE: ("/api/v1", "services"),
    BackendKind.POD: ("/api/v1", "pods"),
    BackendKind.ENDPOINT_SLICE: ("/apis/discovery.k8s.io/v1", "endpointslices"),
}


class FollowedBackends:
    """Keeps the URLs of Prometheus servers in the cluster state, once all were listed.

    Args:
        client: the cluster.
        cluster: receives the URLs.
        discoveries: which objects lead to the servers.
        on_failure: called with the kind each time one cannot be watched.
    """

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        discoveries: Sequence[BackendDiscovery],
        on_failure: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._cluster = cluster
        self._parts = [
            _Part(client, discovery, path, publish=self._publish, on_failure=on_failure)
            for discovery in discoveries
            for path in _paths(discovery)
        ]

    async def follow(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        for part in self._parts:
            part.start(loop)
        try:
            await asyncio.Event().wait()
        finally:
            for part in self._parts:
                part.stop()

    def troubles(self) -> list[str]:
        """Return the errors of what cannot be watched now."""
        found = [part.reflector.error for part in self._parts]
        return [f"gateways' backends: {error}" for error in found if error]

    def _publish(self) -> None:
        if not all(part.is_listed for part in self._parts):
            return
        urls = sorted({url for part in self._parts for url in part.urls()})
        if len(urls) > MAX_BACKENDS:
            logger.error("too many backends; the first ones are used", extra={"count": len(urls)})
        self._cluster.put_backends(urls[:MAX_BACKENDS])


def _paths(discovery: BackendDiscovery) -> Iterator[str]:
    prefix, plural = _APIS[discovery.kind]
    if not discovery.namespaces:
        yield f"{prefix}/{plural}"
    for namespace in discovery.namespaces:
        yield f"{prefix}/namespaces/{namespace}/{plural}"


class _Part:
    """One kind of object in one namespace, or in all."""

    def __init__(
        self,
        client: KubeClient,
        discovery: BackendDiscovery,
        path: str,
        *,
        publish: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._discovery = discovery
        self._publish = publish
        self._urls: dict[tuple[str, str], list[str]] = {}
        """By namespace and name."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_listed = False
        resource = Resource(
            discovery.kind, path, label_selector=discovery.label_selector, keep=lambda obj: obj
        )
        self.reflector = Reflector(client, resource, self, on_failure=on_failure)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.reflector.start()

    def stop(self) -> None:
        self.reflector.stop()

    def urls(self) -> Iterator[str]:
        for found in self._urls.values():
            yield from found

    # In the reflector's thread

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Replace all objects."""
        self._hand_over(dict(filter(None, map(self._read, objects))), is_all=True)

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Add or update one object."""
        self._hand_over(dict(filter(None, [self._read(obj)])))

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Remove one object."""
        self._hand_over({(namespace_of(obj), name_of(obj)): []})

    def _read(self, obj: JsonObject) -> tuple[tuple[str, str], list[str]] | None:
        try:
            return (namespace_of(obj), name_of(obj)), backend_urls(obj, self._discovery)
        except ObjectError as error:
            logger.warning("a backend cannot be read", extra={"reason": str(error)})
            return None

    def _hand_over(self, found: dict[tuple[str, str], list[str]], *, is_all: bool = False) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, found, is_all)

    # In the loop's thread

    def _take(self, found: dict[tuple[str, str], list[str]], is_all: bool) -> None:
        if is_all:
            self.is_listed = True
            self._urls = found
        else:
            self._urls |= found
            for key in [key for key, urls in found.items() if not urls]:
                del self._urls[key]
        self._publish()

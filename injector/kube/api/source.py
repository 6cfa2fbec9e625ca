"""Loads the cluster's state: reflector threads receive objects, the event loop writes them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from injector.errors import ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.reflector import Reflector, Resource
from injector.model.cluster.nodes import keep_node
from injector.model.cluster.state import ClusterState, Key, key_of
from sidecar.model.access.objects import API_VERSION

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
"""Changes within this time are coalesced into one notification."""
NODES = Resource("Node", "/api/v1/nodes", keep=keep_node)
RESOURCES = (
    Resource("Namespace", "/api/v1/namespaces"),
    Resource("LimitRange", "/api/v1/limitranges"),
    Resource("MetricAccess", f"/apis/{API_VERSION}/metricaccesses", is_optional=True),
)


class ClusterSource:
    """Writes the cluster's objects to the cluster state and keeps it up to date."""

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        resources: Sequence[Resource] = RESOURCES,
        on_failure: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._cluster = cluster
        self._keys: dict[str, set[Key]] = {}
        """The known objects of each kind that was listed."""
        self.statuses: dict[Key, Mapping[str, Any]] = {}
        """The status of each MetricAccess object at the API server."""
        self._kinds = [resource.kind for resource in resources]
        self._reflectors = [
            Reflector(client, resource, self, on_failure=on_failure) for resource in resources
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Do nothing: `changes` starts the reflectors; objects are written in its event loop."""

    async def changes(self) -> AsyncIterator[None]:
        """Watch the cluster; yields after each change."""
        self._loop = asyncio.get_running_loop()
        for reflector in self._reflectors:
            reflector.start()
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(GATHER_SECONDS)
                self._changed.clear()
                yield
        finally:
            for reflector in self._reflectors:
                reflector.stop()

    def problems(self) -> Sequence[str]:
        """Return the errors of resources that cannot be watched now."""
        return [reflector.error for reflector in self._reflectors if reflector.error]

    def has_read(self) -> bool:
        """Tell whether every resource was listed once."""
        return all(kind in self._keys for kind in self._kinds)

    def unready(self) -> str:
        """Return which resources have not been listed yet, and why; empty if all have."""
        missing = [kind for kind in self._kinds if kind not in self._keys]
        if not missing:
            return ""
        problems = "; ".join(self.problems())
        return f"not listed yet: {', '.join(missing)}" + (f" ({problems})" if problems else "")

    # In the reflectors' threads

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Replace all objects of a resource."""
        self._hand_over(self._replace, resource.kind, objects)

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Add or update an object."""
        self._hand_over(self._put, resource.kind, obj)

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Remove an object."""
        self._hand_over(self._remove, resource.kind, obj)

    def _hand_over(self, work: Callable[..., None], *given: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._do, work, given)

    # In the loop's thread

    def _do(self, work: Callable[..., None], given: Sequence[object]) -> None:
        try:
            work(*given)
        except ObjectError as error:
            # The API server validates more strictly, so this is a bug of ours.
            logger.error("an object is malformed", extra={"reason": str(error)})
        self._changed.set()

    def _replace(self, kind: str, objects: Sequence[JsonObject]) -> None:
        gone = self._keys.get(kind, set()) - {key_of(kind, obj) for obj in objects}
        for key in gone:
            self.statuses.pop(key, None)
            self._cluster.remove(key)
        self._keys[kind] = set()
        for obj in objects:
            self._put(kind, obj)

    def _put(self, kind: str, obj: JsonObject) -> None:
        key = key_of(kind, obj)
        self._keys.setdefault(kind, set()).add(key)
        if kind == "MetricAccess":
            # Kept apart: a status that we write must not look like a change by the author.
            self.statuses[key] = obj.get("status") or {}
            obj = {name: value for name, value in obj.items() if name != "status"}
        self._cluster.put(kind, obj)

    def _remove(self, kind: str, obj: JsonObject) -> None:
        key = key_of(kind, obj)
        self._keys.setdefault(kind, set()).discard(key)
        self.statuses.pop(key, None)
        self._cluster.remove(key)

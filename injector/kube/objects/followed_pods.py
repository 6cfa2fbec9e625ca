"""Watches whole pods, only in namespaces whose pods a connected aggregate may know."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from injector.errors import ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.reflector import Reflector, Resource
from injector.model.cluster.state import ClusterState, Key, key_of
from injector.model.policies.scope import EVERY_NAMESPACE
from sidecar.errors import PodsError
from sidecar.model.pods.scraped_pod import trim_pod

logger = logging.getLogger(__name__)

LINGER_SECONDS = 300.0
"""How long pods are watched after the last stream that needed them: it may reconnect soon."""
LIST_SECONDS = 20.0
"""How long a proxy waits for the first list."""


def keep_pod(pod: JsonObject) -> JsonObject | None:
    """Reduce a pod to what its scraper needs."""
    try:
        return trim_pod(pod)
    except PodsError as error:
        logger.warning("a pod cannot be read", extra={"reason": str(error)})
        return None


class FollowedPods:
    """Watches pods by namespace while a stream needs them.

    Args:
        client: the cluster.
        cluster: receives the pods.
        on_failure: called with the kind each time pods cannot be watched.
    """

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        on_failure: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._on_failure = on_failure
        self._wanted: Counter[str] = Counter()
        """Number of streams that need a namespace's pods."""
        self._followed: dict[str, _Namespace] = {}

    @contextmanager
    def following(self, namespaces: Sequence[str]) -> Iterator[None]:
        """Watch pods for as long as the block lasts, and a while longer.

        Args:
            namespaces: the namespaces to watch; `*` for all.
        """
        self._wanted.update(namespaces)
        try:
            yield
        finally:
            self._wanted.subtract(namespaces)
            self._linger(namespaces)

    async def listed(self, namespaces: Sequence[str]) -> str:
        """Wait until pods are listed; returns why they are not, empty if they are."""
        followed = [self._follow(name) for name in namespaces]
        self._wanted.update(namespaces)
        try:
            async with asyncio.timeout(LIST_SECONDS):
                for one in followed:
                    await one.is_listed.wait()
        except TimeoutError:
            late = [one for one in followed if not one.is_listed.is_set()]
            reasons = "; ".join(filter(None, (one.reflector.error for one in late)))
            names = ", ".join(one.name for one in late)
            return f"the pods of {names} have not been listed yet" + (reasons and f": {reasons}")
        finally:
            self._wanted.subtract(namespaces)
            self._linger(namespaces)
        return ""

    def close(self) -> None:
        """Stop all watches at shutdown."""
        for one in self._followed.values():
            one.reflector.stop()
        self._followed.clear()

    def _follow(self, name: str) -> "_Namespace":
        one = self._followed.get(name)
        if one is None:
            one = self._followed[name] = _Namespace(
                name, self._client, self._cluster, self._on_failure
            )
            one.reflector.start()
        # A stream that asks and disconnects must not leave a watch behind.
        self._linger([name])
        return one

    def _linger(self, namespaces: Sequence[str]) -> None:
        """Keep watching for a while: a proxy that was sent these pods may reconnect."""
        loop = asyncio.get_running_loop()
        for name in namespaces:
            if name in self._followed:
                self._followed[name].lingers_until = loop.time() + LINGER_SECONDS
        loop.call_later(LINGER_SECONDS, self._stop_unwanted)

    def _stop_unwanted(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, one in list(self._followed.items()):
            if self._wanted[name] <= 0 and one.lingers_until <= now:
                del self._followed[name]
                one.stop(self._is_followed)

    def _is_followed(self, namespace: str) -> bool:
        return namespace in self._followed or EVERY_NAMESPACE in self._followed


class _Namespace:
    """The pods of one namespace, or of all."""

    def __init__(
        self,
        name: str,
        client: KubeClient,
        cluster: ClusterState,
        on_failure: Callable[[str], None],
    ) -> None:
        self.name = "all namespaces" if name == EVERY_NAMESPACE else name
        self.is_listed = asyncio.Event()
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._keys: set[Key] = set()
        self._is_stopped = False
        self.lingers_until = 0.0
        """When it may be stopped, by the loop's clock, if no stream needs it then."""
        path = "/api/v1/pods"
        if name != EVERY_NAMESPACE:
            path = f"/api/v1/namespaces/{name}/pods"
        resource = Resource("Pod", path, keep=keep_pod)
        self.reflector = Reflector(client, resource, self, on_failure=on_failure)

    def stop(self, is_followed: Callable[[str], bool]) -> None:
        """Stop watching, and remove pods of namespaces that are not watched otherwise."""
        self._is_stopped = True
        self.reflector.stop()
        for key in self._keys:
            if not is_followed(key.namespace):
                self._cluster.remove(key)

    # In the reflector's thread

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Replace all pods."""
        self._hand_over(self._replace, objects)

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Add or update one pod."""
        self._hand_over(self._put, obj)

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Remove one pod."""
        self._hand_over(self._remove, obj)

    def _hand_over(self, work: Callable[..., None], given: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._do, work, given)

    # In the loop's thread

    def _do(self, work: Callable[..., None], given: object) -> None:
        if self._is_stopped:
            return
        try:
            work(given)
        except ObjectError as error:
            logger.error("a pod is malformed", extra={"reason": str(error)})

    def _replace(self, objects: Sequence[JsonObject]) -> None:
        keys = {key_of("Pod", obj) for obj in objects}
        for key in self._keys - keys:
            self._cluster.remove(key)
        self._keys = keys
        for obj in objects:
            self._cluster.put("Pod", obj)
        self.is_listed.set()

    def _put(self, obj: JsonObject) -> None:
        self._keys.add(key_of("Pod", obj))
        self._cluster.put("Pod", obj)

    def _remove(self, obj: JsonObject) -> None:
        key = key_of("Pod", obj)
        self._keys.discard(key)
        self._cluster.remove(key)

"""Tracks which collectors are ready, by the EndpointSlices of their Services.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from injector.errors import ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.reflector import Reflector, Resource
from injector.model.cluster.objects import get_list, get_mapping, get_text, name_of
from injector.model.cluster.state import ClusterState


class FollowedCollectors:
    """Keeps the names of ready collectors in the cluster state, once all were listed.

    Args:
        client: the cluster.
        cluster: receives the names.
        accounts: service accounts of collectors, `namespace/name`, named like their Services.
        on_failure: called with the kind each time one cannot be watched.
    """

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        accounts: Sequence[str],
        on_failure: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._cluster = cluster
        self._ready: dict[str, dict[str, list[str]]] = {account: {} for account in accounts}
        """Ready pods by account and name of the slice."""
        self._unlisted = set(accounts)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reflectors: list[Reflector] = []
        for account in accounts:
            namespace, _, service = account.partition("/")
            resource = Resource(
                "EndpointSlice",
                f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                label_selector=f"kubernetes.io/service-name={service}",
                keep=lambda obj: obj,
            )
            taker = _Taker(account, self._hand_over)
            self._reflectors.append(Reflector(client, resource, taker, on_failure=on_failure))

    async def follow(self) -> None:
        """Watch until cancelled."""
        self._loop = asyncio.get_running_loop()
        for reflector in self._reflectors:
            reflector.start()
        try:
            await asyncio.Event().wait()
        finally:
            for reflector in self._reflectors:
                reflector.stop()

    def troubles(self) -> list[str]:
        """Return the errors of what cannot be watched now."""
        return [f"collectors: {item.error}" for item in self._reflectors if item.error]

    def _hand_over(self, account: str, found: dict[str, list[str]], *, is_all: bool) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, account, found, is_all)

    def _take(self, account: str, found: dict[str, list[str]], is_all: bool) -> None:
        if is_all:
            self._unlisted.discard(account)
            self._ready[account] = {}
        self._ready[account] |= found
        if not self._unlisted:
            slices = (pods for ready in self._ready.values() for pods in ready.values())
            names = {name for pods in slices for name in pods}
            self._cluster.put_collectors(sorted(names))


class _Taker:
    """Receives one Service's slices, in the reflector's thread."""

    def __init__(self, account: str, hand_over: Callable[..., None]) -> None:
        self._account = account
        self._hand_over = hand_over

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Replace all slices."""
        self._hand_over(self._account, {name_of(obj): _pods(obj) for obj in objects}, is_all=True)

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Add or update one slice."""
        self._hand_over(self._account, {name_of(obj): _pods(obj)}, is_all=False)

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Remove one slice."""
        self._hand_over(self._account, {name_of(obj): []}, is_all=False)


def _pods(obj: JsonObject) -> list[str]:
    try:
        return list(_ready_pods(obj))
    except ObjectError:
        return []  # the API server validates more strictly than this


def _ready_pods(obj: JsonObject) -> Iterator[str]:
    for endpoint in get_list(obj, "endpoints"):
        target = get_mapping(endpoint, "targetRef")
        # In the API, an unset `ready` means ready.
        if get_mapping(endpoint, "conditions").get("ready") is not False and target:
            yield get_text(target, "name")

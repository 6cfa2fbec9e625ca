"""Pods that asked for a proxy and have none: made while the webhook was away, or before it."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from injector.errors import InjectorError, KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.reflector import Reflector, Resource
from injector.kube.objects.events import PodEvents
from injector.model.admission.decide import decide
from injector.model.admission.outcomes import Reason
from injector.model.admission.scrape_annotations import read_scrape_annotations
from injector.model.cluster import names
from injector.model.cluster.objects import annotations_of, labels_of, metadata_of
from injector.model.cluster.state import ClusterState
from injector.platform import Platform

logger = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
AGAIN_SECONDS = 600.0
"""How long it counts what was found of a pod: a Job's ends."""
MAX_LOOKS = 50
"""Whole pods that one round asks for."""
Name = tuple[str, str]
"""Namespace and name."""


class _Found(NamedTuple):
    uid: str
    at: float
    is_missing: bool


def keep_candidate(pod: JsonObject) -> JsonObject | None:
    """Keep of a pod's metadata its name, if it asks for a proxy and shows none."""
    metadata = pod.get("metadata") or {}
    try:
        annotations, labels = annotations_of(pod), labels_of(pod)
    except InjectorError:
        return None
    inject = annotations.get(names.INJECT)
    asks = inject == "true" or read_scrape_annotations(annotations).asks
    if inject == "false" or names.MIRROR_POD in annotations or names.PROXY_LABEL in labels:
        return None
    if not asks:
        return None
    return {"metadata": {key: metadata.get(key, "") for key in ("name", "namespace", "uid")}}


PODS = Resource("Pod", "/api/v1/pods", is_metadata_only=True, keep=keep_candidate)


class MissingProxyMonitor:
    """Counts such pods by namespace; a whole pod is read only where its metadata leaves a doubt."""

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        platform: Platform,
        *,
        show: Callable[[Mapping[str, int]], None],
        on_deleted: Callable[[str], None] = lambda uid: None,
        tells: bool = True,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._platform = platform
        self._show = show
        self._on_deleted = on_deleted
        """Takes the uid of every pod that was deleted."""
        # Where nothing injects, no restart helps.
        self._events = PodEvents(client) if tells else None
        self._candidates: dict[Name, str] = {}
        """Their uid."""
        self._found: dict[Name, _Found] = {}

    async def run(self, on_failure: Callable[[str], None]) -> None:
        """Follow pods and count until cancelled."""
        reflector = Reflector(
            self._client,
            PODS,
            self,
            on_failure=on_failure,
            on_deleted=lambda pod: self._on_deleted(str(metadata_of(pod).get("uid", ""))),
        )
        reflector.start()
        try:
            while True:
                await asyncio.to_thread(self._look)
                self._show(self.count())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            reflector.stop()

    def count(self) -> Mapping[str, int]:
        """Return how many there are, for every namespace that asks for proxies."""
        counts = Counter(dict.fromkeys(self._enabled(), 0))
        for (namespace, _), found in list(self._found.items()):
            if found.is_missing and namespace in counts:
                counts[namespace] += 1
        return counts

    # In the reflector's thread

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Take all candidates."""
        self._candidates = {_name(obj): str(obj["metadata"]["uid"]) for obj in objects}

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Take one more."""
        self._candidates[_name(obj)] = str(obj["metadata"]["uid"])

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Forget one that went away, or got its proxy."""
        self._candidates.pop(_name(obj), None)

    # In another

    def _look(self) -> None:
        candidates, enabled = dict(self._candidates), self._enabled()
        now = time.monotonic()
        found = {
            name: item for name, item in self._found.items() if candidates.get(name) == item.uid
        }
        # Those never looked at first, then those looked at longest ago.
        seen = {name: item.at for name, item in found.items()}
        due = [
            name
            for name in candidates
            if name[0] in enabled and now - seen.get(name, float("-inf")) >= AGAIN_SECONDS
        ]
        for name in sorted(due, key=lambda name: seen.get(name, 0.0))[:MAX_LOOKS]:
            try:
                reason = self._ask(*name)
                found[name] = _Found(candidates[name], now, reason is Reason.INJECTED)
                if name not in seen and self._events is not None:
                    self._events.write(*name, candidates[name], reason)
            except KubeError as error:
                if error.status != 404:
                    logger.info("a pod cannot be looked at", extra={"reason": str(error)})
                if error.status == 0 or error.status >= 429:
                    break  # the API server is away, or asks for patience
        self._found = found

    def _ask(self, namespace: str, name: str) -> Reason:
        """Say what the webhook would have decided about a pod that runs."""
        pod = self._client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return Reason.NOT_ANNOTATED  # what is over misses nothing
        return decide(pod, namespace, self._cluster, self._platform).reason

    def _enabled(self) -> set[str]:
        return {item.name for item in self._cluster.namespaces() if item.is_labelled}


def _name(obj: JsonObject) -> Name:
    metadata = metadata_of(obj)
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))

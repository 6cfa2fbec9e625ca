"""Finds pods that asked for a proxy and have none, or whose proxy does not work."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from injector.control.proxies import Proxies
from injector.errors import InjectorError, KubeError, ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.api.reflector import Reflector, Resource
from injector.kube.objects.events import PodEvents
from injector.model.admission.decide import DEFAULT_PORT, decide
from injector.model.admission.outcomes import Reason
from injector.model.admission.selection import is_enabled
from injector.model.admission.troubles import (
    Trouble,
    find_proxy,
    is_drifted,
    lead_of,
    may_have_a_stream,
)
from injector.model.cluster import names
from injector.model.cluster.objects import annotations_of, labels_of, metadata_of
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from sidecar.model.pods.scrape_annotations import read_scrape_annotations

logger = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
AGAIN_SECONDS = 600.0
"""How long a pod's result stays valid; a Job's pod may end meanwhile."""
AWAY_SECONDS = 120.0
"""How long a proxy may lack a stream: it reconnects after 0.2 to 30 s."""
CHANGED_SECONDS = 60.0
"""Minimum time until a pod whose metadata changed is checked again."""
MAX_LOOKS = 50
"""Whole pods read per round."""
_NAMED = 5
"""Pods named in one sentence."""
_USUAL_LEAD = f"http://:{DEFAULT_PORT}/metrics"
_MAX_LEAD = 300
Name = tuple[str, str]
"""Namespace and name."""


class Seen(NamedTuple):
    """What a pod's metadata alone shows."""

    uid: str
    has_proxy: bool
    leads: str
    """Scrape URL of its annotations, such as `http://:16090/metrics`; empty without one."""


class _Found(NamedTuple):
    seen: Seen
    at: float
    trouble: Trouble | None


def keep_pod(pod: JsonObject) -> JsonObject | None:
    """Reduce a pod's metadata to what is needed; None unless it has a proxy or asks for one."""
    try:
        annotations, labels = annotations_of(pod), labels_of(pod)
        metadata = metadata_of(pod)
    except InjectorError:
        return None
    inject, scrape = annotations.get(names.INJECT), read_scrape_annotations(annotations)
    has_proxy = names.PROXY_LABEL in labels
    asks = (inject == "true" or scrape.asks) and inject != "false"
    if names.MIRROR_POD in annotations or not (has_proxy or asks):
        return None
    name = {key: metadata.get(key, "") for key in ("name", "namespace", "uid")}
    leads = lead_of(scrape)[:_MAX_LEAD] if scrape.asks else ""
    return {"metadata": name, "hasProxy": has_proxy, "leads": leads}


PODS = Resource("Pod", "/api/v1/pods", is_metadata_only=True, keep=keep_pod)


class ProxyTroubles:
    """Tracks such pods; reads a whole pod only if its metadata leaves a doubt.

    Args:
        client: the cluster.
        cluster: the cluster state, for namespaces.
        platform: the platform's settings.
        show: called after each round with the number of pods by trouble and namespace.
        on_deleted: called with the uid of every deleted pod.
        tells: whether events are written for pods' owners.
    """

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        platform: Platform,
        *,
        show: Callable[[Mapping[Trouble, Mapping[str, int]]], None],
        on_deleted: Callable[[str], None] = lambda uid: None,
        tells: bool = True,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._platform = platform
        self._show = show
        self._on_deleted = on_deleted
        # Without injection, a restart does not help.
        self._events = PodEvents(client) if tells else None
        self._seen: dict[Name, Seen] = {}
        self._away: dict[Name, float] = {}
        """Since when a pod's proxy has had no stream."""
        self._found: dict[Name, _Found] = {}
        self._right: dict[Name, Seen] = {}
        """Pods as they were when a check found that their annotations point to their proxy."""
        self._looked: dict[Name, float] = {}
        self._served: dict[str, float] = {}
        """When a pod of each namespace was last checked, so that namespaces take turns."""

    async def run(self, proxies: Proxies, on_failure: Callable[[str], None]) -> None:
        """Watch and check pods until cancelled.

        Args:
            proxies: knows which proxies have a stream.
            on_failure: called with the kind each time pods cannot be watched.
        """
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
                # Unless all replicas answer, no pod is known to lack a stream.
                connected = proxies.connected() if proxies.is_complete else None
                await asyncio.to_thread(self._look, connected)
                self._show(self.count())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            reflector.stop()

    def count(self) -> Mapping[Trouble, Mapping[str, int]]:
        """Return how many pods have each trouble, for every namespace that asks for proxies."""
        namespaces = self._enabled()
        counts = {trouble: dict.fromkeys(namespaces, 0) for trouble in Trouble}
        for (namespace, _), found in list(self._found.items()):
            if found.trouble is not None and self._concerns(found.seen, namespace, namespaces):
                of_trouble = counts[found.trouble]
                of_trouble[namespace] = of_trouble.get(namespace, 0) + 1
        return counts

    def sentences(self) -> Sequence[str]:
        """Return which pods have a trouble, one sentence for each namespace and trouble."""
        enabled = self._enabled()
        groups: dict[tuple[str, Trouble], list[str]] = {}
        for (namespace, name), found in sorted(self._found.items()):
            if found.trouble is not None and self._concerns(found.seen, namespace, enabled):
                groups.setdefault((namespace, found.trouble), []).append(name)
        return [
            f"{namespace}: {trouble.sentence}: {_names(pods)}"
            for (namespace, trouble), pods in groups.items()
        ]

    # In the reflector's thread

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Replace all pods."""
        self._seen = {_name(obj): _see(obj) for obj in objects}

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Add or update one pod."""
        self._seen[_name(obj)] = _see(obj)

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Remove one pod."""
        self._seen.pop(_name(obj), None)

    # In another thread

    def _look(self, connected: set[Name] | None) -> None:
        now, enabled = time.monotonic(), self._enabled()
        seen = {
            name: item
            for name, item in dict(self._seen).items()
            if self._concerns(item, name[0], enabled)
        }
        if connected is not None:
            self._away = {
                name: self._away.get(name, now)
                for name, item in seen.items()
                if item.has_proxy and name not in connected
            }
        self._right = {name: item for name, item in self._right.items() if seen.get(name) == item}
        self._looked = {name: at for name, at in self._looked.items() if name in seen}
        doubtful = {name for name, item in seen.items() if self._is_doubtful(name, item, now)}
        self._found = {
            name: item
            for name, item in self._found.items()
            if name in doubtful and item.seen == seen[name]
        }
        due = [name for name in doubtful if self._is_due(name, now)]
        # Doubtful pods first; namespaces take turns, so that none can delay the others.
        unknown = [name for name in seen if name not in doubtful and name not in self._right]
        chosen = [*self._in_turn(due), *self._in_turn(unknown)][:MAX_LOOKS]
        self._look_at({name: seen[name] for name in chosen}, now)

    def _is_doubtful(self, name: Name, seen: Seen, now: float) -> bool:
        if not seen.has_proxy or self._is_away(name, now):
            return True
        found = self._found.get(name)
        if found is not None and found.seen == seen and found.trouble is not None:
            return True
        return seen.leads not in ("", _USUAL_LEAD) and self._right.get(name) != seen

    def _is_due(self, name: Name, now: float) -> bool:
        waits = AGAIN_SECONDS if name in self._found else CHANGED_SECONDS
        return now - self._looked.get(name, float("-inf")) >= waits

    def _in_turn(self, pods: Iterable[Name]) -> list[Name]:
        """Order pods round-robin by namespace, the least recently checked first."""
        groups: dict[str, list[Name]] = {}
        for name in sorted(pods, key=lambda name: self._looked.get(name, 0.0)):
            groups.setdefault(name[0], []).append(name)
        order = sorted(groups, key=lambda namespace: self._served.get(namespace, 0.0))
        rows = itertools.zip_longest(*(groups[namespace] for namespace in order))
        return [name for row in rows for name in row if name is not None]

    def _look_at(self, chosen: Mapping[Name, Seen], now: float) -> None:
        for name, seen in chosen.items():
            self._served[name[0]] = time.monotonic()
            is_first = name not in self._looked
            self._looked[name] = now
            try:
                trouble, reason = self._ask(name, seen, now)
                self._found[name] = _Found(seen, now, trouble)
                if seen.has_proxy and trouble is not Trouble.DRIFTED:
                    self._right[name] = seen
                # A trouble is written at each check: the API server deletes events after an hour.
                if (is_first or trouble is not None) and self._events is not None:
                    self._events.write(*name, seen.uid, trouble or reason)
            except ObjectError as error:
                logger.info("a pod cannot be checked", extra={"reason": str(error)})
            except KubeError as error:
                if error.status != 404:
                    logger.info("a pod cannot be read", extra={"reason": str(error)})
                if error.status == 0 or error.status >= 429:
                    break  # the API server is unavailable or throttles
        present = {name[0] for name in self._looked}
        self._served = {name: at for name, at in self._served.items() if name in present}

    def _ask(self, name: Name, seen: Seen, now: float) -> tuple[Trouble | None, Reason]:
        """Return what is wrong with a running pod, and what admission would decide about it now."""
        pod = self._client.request("GET", f"/api/v1/namespaces/{name[0]}/pods/{name[1]}")
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return None, Reason.NOT_ANNOTATED  # a finished pod needs no proxy
        if is_drifted(pod, self._platform.mesh):
            return Trouble.DRIFTED, Reason.ALREADY_INJECTED
        if find_proxy(pod) is not None:
            is_cut_off = self._is_away(name, now) and may_have_a_stream(pod)
            return (Trouble.CUT_OFF if is_cut_off else None), Reason.ALREADY_INJECTED
        reason = decide(pod, name[0], self._cluster, self._platform).reason
        return (Trouble.MISSING if reason is Reason.INJECTED else None), reason

    def _is_away(self, name: Name, now: float) -> bool:
        if self._platform.control is None:
            return False
        return now - self._away.get(name, now) >= AWAY_SECONDS

    def _concerns(self, seen: Seen, namespace: str, enabled: set[str]) -> bool:
        """Tell whether a pod concerns us: it has a proxy, or its namespace asks for proxies."""
        return seen.has_proxy or namespace in enabled

    def _enabled(self) -> set[str]:
        return {
            item.name for item in self._cluster.namespaces() if is_enabled(item, self._platform)
        }


def _name(obj: JsonObject) -> Name:
    metadata = metadata_of(obj)
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _see(kept: JsonObject) -> Seen:
    return Seen(str(kept["metadata"]["uid"]), kept["hasProxy"], kept["leads"])


def _names(pods: Sequence[str]) -> str:
    more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
    return ", ".join(pods[:_NAMED]) + more

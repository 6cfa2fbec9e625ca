"""Keeps a resource up to date: lists it in pages, then watches it, and repeats that.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient

logger = logging.getLogger(__name__)

PAGE = 500
WATCH_SECONDS = 270.0
"""Requested duration of one watch, plus or minus 20%."""
SILENCE_SECONDS = 15.0
"""Silence allowed beyond a watch's duration before its connection is considered dead."""
FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 30.0
_EXPIRED = 410
_TRY_AGAIN = frozenset([429, 503])
_JSON = "application/json"
_METADATA = "application/json;as={0};g=meta.k8s.io;v=v1"


_KEPT_METADATA = ("name", "namespace", "uid", "generation", "labels", "annotations")
_LARGE_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def trim(obj: JsonObject) -> JsonObject:
    """Drop fields that are not used: half of a Namespace is `managedFields`."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    kept = {name: metadata[name] for name in _KEPT_METADATA if metadata.get(name)}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict) and _LARGE_ANNOTATION in annotations:
        kept["annotations"] = {
            key: value for key, value in annotations.items() if key != _LARGE_ANNOTATION
        }
    return {"metadata": kept, **{key: obj[key] for key in ("spec", "status") if key in obj}}


class Resource(NamedTuple):
    """A resource to watch."""

    kind: str
    path: str
    """Path of the collection, such as `/api/v1/namespaces`."""
    selector: str = ""
    """A field selector."""
    label_selector: str = ""
    is_metadata_only: bool = False
    is_optional: bool = False
    """Whether the cluster may lack it, as with a CRD that is not installed (yet)."""
    keep: Callable[[JsonObject], JsonObject | None] = trim
    """Converts an object to what is kept; returns None to ignore it."""


class Sink(Protocol):
    """Receives a reflector's objects; called in the reflector's thread."""

    def replace(self, resource: Resource, objects: Sequence[JsonObject]) -> None:
        """Replace all objects of a resource."""

    def put(self, resource: Resource, obj: JsonObject) -> None:
        """Add or update an object."""

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        """Remove an object."""


class Reflector:
    """Watches one resource in a separate thread."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        sink: Sink,
        *,
        on_failure: Callable[[str], None] = lambda kind: None,
        on_deleted: Callable[[JsonObject], None] = lambda obj: None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._on_failure = on_failure
        self._on_deleted = on_deleted
        """Called with every object that is deleted during a watch, whether it was kept or not."""
        self._version = ""
        """resourceVersion of the known state; empty if a new list is needed."""
        self._stop = threading.Event()
        self.error = ""
        """Why the state is not up to date; empty if it is."""

    def start(self) -> None:
        """Start a daemon thread."""
        name = f"reflector-{self._resource.kind}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Stop taking events; a blocked watch ends with the process."""
        self._stop.set()

    def _run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                if not self._version:
                    self._list()
                    self.error = ""
                self._watch()
            except KubeError as error:
                self._fail(error)
            except Exception as error:
                logger.exception("a reflector failed; restarting")
                self._version = ""
                self._fail(KubeError(0, repr(error)))
            if self._stop.is_set():
                return
            if time.monotonic() - started > 1.0:
                backoff = FIRST_BACKOFF_SECONDS  # it worked for a while
                if not self.error:
                    continue
            # A server that ends every watch at once must not be queried in a tight loop.
            self._stop.wait(random.uniform(backoff / 2, backoff))
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    def _fail(self, error: KubeError) -> None:
        if error.status == _EXPIRED:
            self._version = ""
            logger.info("a watch has expired; listing again", extra={"kind": self._resource.kind})
            return
        if error.status == 404 and self._resource.is_optional:
            self._sink.replace(self._resource, ())
            self._version = self.error = ""
            return
        self.error = str(error)
        self._on_failure(self._resource.kind)
        extra = {"kind": self._resource.kind, "reason": str(error)}
        logger.warning("a resource cannot be watched; retrying", extra=extra)

    def _list(self) -> None:
        objects: list[JsonObject] = []
        query = {"limit": str(PAGE), **self._selection()}
        while True:
            page = self._client.request(
                "GET", self._resource.path, query=query, accept=self._accept("List")
            )
            kept = map(self._resource.keep, page.get("items") or ())
            objects += [item for item in kept if item is not None]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                break
            query["continue"] = str(metadata["continue"])
        self._sink.replace(self._resource, objects)
        self._version = str(metadata.get("resourceVersion", ""))

    def _watch(self) -> None:
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.2)
        query = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
            **self._selection(),
        }
        with self._client.watch(
            self._resource.path,
            query,
            accept=self._accept(""),
            read_timeout_seconds=seconds + SILENCE_SECONDS,
        ) as events:
            self.error = ""
            for event in events:
                if self._stop.is_set():
                    return
                self._take(event)

    def _take(self, event: JsonObject) -> None:
        kind, obj = event.get("type"), event.get("object")
        if not isinstance(obj, dict):
            raise KubeError(0, f"watch {self._resource.path}: an event without an object")
        if kind == "ERROR":
            code = int(obj.get("code") or 0)
            if code not in _TRY_AGAIN:
                self._version = ""  # this version may cause the same error forever
            raise KubeError(code, str(obj.get("message", "an error"))[:500])
        if kind == "DELETED":
            self._on_deleted(obj)
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            kept = self._resource.keep(obj)
            if kept is None or kind == "DELETED":
                self._sink.remove(self._resource, obj)
            else:
                self._sink.put(self._resource, kept)
        # Only the version of a bookmark is used.
        self._version = str((obj.get("metadata") or {}).get("resourceVersion") or self._version)

    def _selection(self) -> dict[str, str]:
        selectors = {
            "fieldSelector": self._resource.selector,
            "labelSelector": self._resource.label_selector,
        }
        return {name: text for name, text in selectors.items() if text}

    def _accept(self, suffix: str) -> str:
        if not self._resource.is_metadata_only:
            return _JSON
        return _METADATA.format(f"PartialObjectMetadata{suffix}")

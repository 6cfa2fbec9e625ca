"""Keeps a collection of objects up to date: lists it in pages, then watches it.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from sidecar.errors import LiveryError, UpstreamError, UpstreamTimeoutError
from sidecar.model.fields import read_mapping
from sidecar.pods.api import ApiClient, ApiError, Json

logger = logging.getLogger(__name__)

PAGE = 50
"""Objects per list request: as Python values they take five times the size of their JSON."""
MAX_OBJECTS = 20_000
MAX_PAGES = 2 * MAX_OBJECTS // PAGE
WATCH_SECONDS = 270.0
"""Requested duration of one watch, plus or minus 20%."""
SILENCE_SECONDS = 90.0
"""Time without an event after which the connection is considered dead: bookmarks come every
minute."""
SHORTEST_WATCH_SECONDS = 1.0
"""A watch that ends sooner, without an event, has failed."""
FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 30.0
_EXPIRED = 410
_PATIENCE = 429
T = TypeVar("T")


class Watch(Generic[T]):
    """Watches one collection; keeps the last state while the API server is unavailable.

    Args:
        client: the API server.
        path: of the collection, such as `/api/v1/namespaces/shop/pods`.
        selection: query parameters that select objects, such as `labelSelector`.
        parse: converts an object to what is kept; returns None to ignore it, and raises
            LiveryError if it cannot be read.
        on_change: called after each change.
    """

    def __init__(
        self,
        client: ApiClient,
        path: str,
        *,
        selection: Mapping[str, str] = MappingProxyType({}),
        parse: Callable[[Json], T | None],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._path = path
        self._selection = {name: text for name, text in selection.items() if text}
        self._parse = parse
        self._on_change = on_change
        self._version = ""
        """resourceVersion of the known state; empty if a new list is needed."""
        self.objects: dict[str, T] = {}
        """By uid."""
        self.is_listed = False
        """Whether a complete list was ever read."""
        self.confirmed_at = time.monotonic()
        """When the API server last confirmed the state, in monotonic seconds."""
        self.error = ""
        """Why the state is not up to date; empty if it is."""
        self.status = 0
        """HTTP status of that error; 0 if it has none."""
        self.failures = 0

    @property
    def age_seconds(self) -> float:
        """Time since the state was confirmed; 0 while it is up to date."""
        return time.monotonic() - self.confirmed_at if self.error else 0.0

    async def run(self) -> None:
        """List and watch until cancelled."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            started = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._follow()
            except LiveryError as error:
                self._fail(error)
            if time.monotonic() - started > 1.0:
                backoff = FIRST_BACKOFF_SECONDS  # it worked for a while
                if not self.error:
                    continue
            # A server that ends every watch at once must not be queried in a tight loop.
            await asyncio.sleep(random.uniform(backoff / 2, backoff))
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    def _fail(self, error: LiveryError) -> None:
        status = error.status if isinstance(error, ApiError) else 0
        if status == _EXPIRED:
            self._version = ""
            return
        if 400 <= status < 500 and status != _PATIENCE:
            self._version = ""  # this version may cause the same error forever
        self.failures += 1
        self.status = status
        if str(error) != self.error:
            self.error = str(error)
            logger.warning("pods cannot be watched; retrying", extra={"reason": self.error})
            self._on_change()

    def _confirm(self) -> None:
        self.confirmed_at = time.monotonic()
        if self.error:
            self.error, self.status = "", 0
            logger.info("pods are watched again")
            self._on_change()

    async def _list(self) -> None:
        query = {"limit": str(PAGE), **self._selection}
        found: dict[str, T] = {}
        pages = 0
        while True:
            page = await self._client.get(self._path, query)
            for obj in _items(page):
                self._keep(obj, found)
            pages += 1
            if len(found) > MAX_OBJECTS or pages > MAX_PAGES:
                raise UpstreamError(f"more than {MAX_OBJECTS} objects match; narrow the selector")
            metadata = read_mapping(page.get("metadata"), "metadata", _wrong)
            if not metadata.get("continue"):
                break
            query["continue"] = str(metadata["continue"])
        self.objects = found
        self._version = str(metadata.get("resourceVersion") or "")
        if not self._version:
            raise UpstreamError("the API server sent a list without a resourceVersion")
        self.is_listed = True
        self._confirm()
        self._on_change()

    async def _follow(self) -> None:
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.2)
        query = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
            **self._selection,
        }
        started = time.monotonic()
        taken = 0
        events = self._client.watch(self._path, query, SILENCE_SECONDS)
        # A silent connection may be dead: the next watch shows whether it was.
        with contextlib.suppress(UpstreamTimeoutError):
            async with contextlib.aclosing(events):
                async for event in events:
                    if event is not None:
                        self._take(event)
                        taken += 1
                    self._confirm()
        if not taken and time.monotonic() - started < SHORTEST_WATCH_SECONDS:
            self._version = ""  # a server that ends watches at once may have lost events
            raise UpstreamError("the API server ended the watch immediately")

    def _take(self, event: Mapping[str, object]) -> None:
        kind = event.get("type")
        obj = read_mapping(event.get("object"), "object", _wrong)
        if kind == "ERROR":
            code = obj.get("code")
            raise ApiError(code if isinstance(code, int) else 0, str(obj.get("message"))[:300])
        metadata = read_mapping(obj.get("metadata"), "metadata", _wrong)
        if kind == "DELETED":
            self.objects.pop(str(metadata.get("uid")), None)
        elif kind in ("ADDED", "MODIFIED"):
            self._keep(obj, self.objects)
        elif kind != "BOOKMARK":
            raise _wrong("type", f"{str(kind)[:40]!r} is not an event type")
        # Only the version of a bookmark is used.
        self._version = str(metadata.get("resourceVersion") or self._version)
        if kind != "BOOKMARK":
            self._on_change()

    def _keep(self, obj: object, objects: dict[str, T]) -> None:
        """Store an object by its uid; one that cannot be read is skipped."""
        whole = read_mapping(obj, "items[]", _wrong)
        uid = read_mapping(whole.get("metadata"), "metadata", _wrong).get("uid")
        if not isinstance(uid, str) or not uid:
            raise _wrong("metadata.uid", "it is missing")
        try:
            kept = self._parse(whole)
        except LiveryError as error:
            logger.warning("an object cannot be read", extra={"reason": str(error)})
            kept = None
        if kept is None:
            objects.pop(uid, None)
        else:
            objects[uid] = kept


def _items(page: Mapping[str, object]) -> Sequence[object]:
    items = page.get("items")
    if items is None:
        return ()
    if not isinstance(items, list):
        raise _wrong("items", "a list is needed")
    return items


def _wrong(path: str, reason: str) -> UpstreamError:
    return UpstreamError(f"the API server sent an object that cannot be read: {path}: {reason}")

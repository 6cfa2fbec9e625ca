"""A collection of objects kept up to date: listed in pages, then watched from there.

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
"""Objects that are asked for at once: as Python's values they take five times their text."""
MAX_OBJECTS = 20_000
MAX_PAGES = 2 * MAX_OBJECTS // PAGE
WATCH_SECONDS = 270.0
"""How long one watch is asked to last, give or take a fifth."""
SILENCE_SECONDS = 90.0
"""What may pass without an event before the connection is taken for dead: bookmarks come each
minute."""
SHORTEST_WATCH_SECONDS = 1.0
"""A watch that ends sooner, without an event, has failed."""
FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 30.0
_EXPIRED = 410
_PATIENCE = 429
T = TypeVar("T")


class Watch(Generic[T]):
    """Follows one collection; the last state stays while the API server is away.

    Args:
        client: the API server.
        path: of the collection, as `/api/v1/namespaces/shop/pods`.
        selection: query parameters that choose objects, such as `labelSelector`.
        parse: makes of an object what is kept; None where it is as if it were not there. Raises
            LiveryError of one that cannot be read.
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
        """Of the last thing that is known; empty where all must be listed."""
        self.objects: dict[str, T] = {}
        """By uid."""
        self.is_listed = False
        """Whether there ever was a whole list."""
        self.confirmed_at = time.monotonic()
        """When the API server last said that this is the state."""
        self.error = ""
        """Why it is not up to date; empty where it is."""
        self.status = 0
        """HTTP status of that error, where it has one."""
        self.failures = 0

    @property
    def age_seconds(self) -> float:
        """How old the state may be."""
        return time.monotonic() - self.confirmed_at if self.error else 0.0

    async def run(self) -> None:
        """Follow until cancelled."""
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
            # A server that ends every watch at once is not asked a thousand times a second.
            await asyncio.sleep(random.uniform(backoff / 2, backoff))
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    def _fail(self, error: LiveryError) -> None:
        status = error.status if isinstance(error, ApiError) else 0
        if status == _EXPIRED:
            self._version = ""
            return
        if 400 <= status < 500 and status != _PATIENCE:
            self._version = ""  # what this version leads to may be an error for ever
        self.failures += 1
        self.status = status
        if str(error) != self.error:
            self.error = str(error)
            logger.warning("pods cannot be followed; trying again", extra={"reason": self.error})
            self._on_change()

    def _confirm(self) -> None:
        self.confirmed_at = time.monotonic()
        if self.error:
            self.error, self.status = "", 0
            logger.info("pods are followed again")
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
        # A silent connection may be a dead one: the next watch shows which.
        with contextlib.suppress(UpstreamTimeoutError):
            async with contextlib.aclosing(events):
                async for event in events:
                    if event is not None:
                        self._take(event)
                        taken += 1
                    self._confirm()
        if not taken and time.monotonic() - started < SHORTEST_WATCH_SECONDS:
            self._version = ""  # who ends each watch at once may have missed what happened
            raise UpstreamError("the API server ended the watch at once")

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
            raise _wrong("type", f"{str(kind)[:40]!r} is no kind of event")
        # Of a bookmark only the version is used.
        self._version = str(metadata.get("resourceVersion") or self._version)
        if kind != "BOOKMARK":
            self._on_change()

    def _keep(self, obj: object, objects: dict[str, T]) -> None:
        """Keep an object under its uid; one that cannot be read is left out."""
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

"""Coalesces scrapes: clients that ask before the labelled response begins share one response.

The kubelet takes seconds until its response begins, and the scrapers of one job arrive at the same
time. A separate task reads the response, so that no client can end it for the others.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from sidecar.errors import LiveryError, UpstreamError, UpstreamTimeoutError

MAX_UNREAD_BYTES = 256 << 10
"""Unread bytes of one reader above which the others wait for it."""
PATIENCE_SECONDS = 1.0
"""How long the others wait for a stalled reader; after that its response is aborted."""
_GRACE_SECONDS = 0.1
"""Extra wait after the deadline, in which the reading task can report its own error."""
MAX_LOST_SECONDS = 1.0
"""How much earlier than its own a shared response's deadline may be for a scrape to join it."""


class Reader:
    """One client's queue of response parts."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._parts: deque[bytes] = deque()
        self._unread = 0
        self._error: LiveryError | None = None
        self._has_ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_full(self) -> bool:
        """Whether it has more unread bytes than allowed."""
        return self._unread > MAX_UNREAD_BYTES

    def put(self, part: bytes) -> None:
        """Append the next part."""
        self._parts.append(part)
        self._unread += len(part)
        if self.is_full:
            self._room.clear()
        self._news.set()

    def end(self, error: LiveryError | None = None) -> None:
        """Mark the end, with the error if the response is incomplete."""
        self._error, self._has_ended = error, True
        self._news.set()

    def leave(self) -> None:
        """Note that its client is gone, so that nobody waits for it any more."""
        self._room.set()

    async def wait_for_room(self) -> None:
        """Wait until it is no longer full, or its client is gone."""
        await self._room.wait()

    async def next(self) -> bytes:
        """Return the next part; empty at the end.

        Raises:
            LiveryError: the response is incomplete.
            UpstreamTimeoutError: the deadline has passed.
        """
        try:
            async with asyncio.timeout_at(self._deadline + _GRACE_SECONDS):
                while not self._parts and not self._has_ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            reason = "the kubelet's response was not complete within the scrape timeout"
            raise UpstreamTimeoutError(reason) from None
        if self._parts:
            part = self._parts.popleft()
            self._unread -= len(part)
            if not self.is_full:
                self._room.set()
            return part
        if self._error is not None:
            raise self._error.with_traceback(None)
        return b""


class SharedText:
    """A response that is being read, for one or more readers.

    Args:
        parts: the response's parts.
        deadline: when reading must end, by the loop's clock.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None], deadline: float) -> None:
        self._deadline = deadline
        self._has_begun = False
        self._readers: list[Reader] = []
        self._task = asyncio.create_task(self._read(parts))

    @property
    def has_readers(self) -> bool:
        """Whether any reader is left."""
        return bool(self._readers)

    def is_for(self, deadline: float) -> bool:
        """Tell whether a scrape with this deadline can join and read from the beginning."""
        lasts = self._deadline >= deadline - MAX_LOST_SECONDS
        return lasts and not self._has_begun and not self._task.done()

    def join(self, deadline: float) -> Reader:
        """Add a reader; only allowed before the response begins."""
        reader = Reader(deadline)
        self._readers.append(reader)
        return reader

    async def leave(self, reader: Reader) -> None:
        """Remove a reader; after the last one, reading stops and the scrape's slot is released."""
        if reader in self._readers:
            self._readers.remove(reader)
        reader.leave()
        if not self._readers:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self, parts: AsyncGenerator[bytes, None]) -> None:
        # Applies to any early end: a truncated response must not look complete.
        error: LiveryError | None = UpstreamError("the kubelet's response was not read to its end")
        try:
            async with contextlib.aclosing(parts):
                async for part in parts:
                    self._has_begun = True
                    for reader in list(self._readers):
                        await self._give(reader, part)
            error = None
        except LiveryError as failure:
            error = failure
        finally:
            for reader in self._readers:
                reader.end(error)

    async def _give(self, reader: Reader, part: bytes) -> None:
        if reader.is_full:
            try:
                now = asyncio.get_running_loop().time()
                is_alone = len(self._readers) == 1
                until = self._deadline if is_alone else min(self._deadline, now + PATIENCE_SECONDS)
                async with asyncio.timeout_at(until):
                    await reader.wait_for_room()
            except TimeoutError:
                self._readers.remove(reader)
                reader.end(UpstreamError("the scraper read too slowly"))
        if reader in self._readers:  # it may have left meanwhile
            reader.put(part)

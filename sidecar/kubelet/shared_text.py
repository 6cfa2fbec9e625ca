"""One labelled text for all who ask for it before it begins: the kubelet is asked once.

The kubelet takes seconds until its text begins, and scrapers of one job come at once. A task of its
own reads the text, so that none of them can end it for the others.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from sidecar.errors import LiveryError, UpstreamError, UpstreamTimeoutError

MAX_UNREAD_BYTES = 256 << 10
"""What one reader may leave unread before the others wait for it."""
PATIENCE_SECONDS = 1.0
"""How long the others wait for one that takes nothing; then it loses its answer."""
_GRACE_SECONDS = 0.1
"""By which a text that ends in time says why itself."""
MAX_LOST_SECONDS = 1.0
"""What a scrape may lose of its time by joining one that ends before."""


class Reader:
    """One client's share of the text."""

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
        """Whether what it has not read is as much as it may be."""
        return self._unread > MAX_UNREAD_BYTES

    def put(self, part: bytes) -> None:
        """Give it the next part."""
        self._parts.append(part)
        self._unread += len(part)
        if self.is_full:
            self._room.clear()
        self._news.set()

    def end(self, error: LiveryError | None = None) -> None:
        """Say that nothing more comes, and why if that is too early."""
        self._error, self._has_ended = error, True
        self._news.set()

    def leave(self) -> None:
        """Say that its client is gone: nobody waits for it any more."""
        self._room.set()

    async def wait_for_room(self) -> None:
        """Wait until it has read some of what it has, or is gone."""
        await self._room.wait()

    async def next(self) -> bytes:
        """Return the next part; nothing at the end.

        Raises:
            LiveryError: the text broke off.
            UpstreamTimeoutError: there is no more time.
        """
        try:
            async with asyncio.timeout_at(self._deadline + _GRACE_SECONDS):
                while not self._parts and not self._has_ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            reason = "the kubelet's text was not whole in the scrape's time"
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
    """A text while it is read.

    Args:
        parts: the text.
        deadline: when it is over, in the loop's time.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None], deadline: float) -> None:
        self._deadline = deadline
        self._has_begun = False
        self._readers: list[Reader] = []
        self._task = asyncio.create_task(self._read(parts))

    @property
    def has_readers(self) -> bool:
        """Whether anybody still wants it."""
        return bool(self._readers)

    def is_for(self, deadline: float) -> bool:
        """Tell whether somebody whose time ends then can have it, from its beginning."""
        lasts = self._deadline >= deadline - MAX_LOST_SECONDS
        return lasts and not self._has_begun and not self._task.done()

    def join(self, deadline: float) -> Reader:
        """Give it to one more; before it begins only."""
        reader = Reader(deadline)
        self._readers.append(reader)
        return reader

    async def leave(self, reader: Reader) -> None:
        """Forget a reader; without any the text is not read on, and its place is given back."""
        if reader in self._readers:
            self._readers.remove(reader)
        reader.leave()
        if not self._readers:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self, parts: AsyncGenerator[bytes, None]) -> None:
        # Whatever ends it before its end: what was cut is not served as whole.
        error: LiveryError | None = UpstreamError("the kubelet's text was not read to its end")
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
        if reader in self._readers:  # it may be gone since
            reader.put(part)

"""Pushes the latest values of a rule's series to a Pushgateway, group by group.

Source: https://github.com/prometheus/pushgateway#put-method
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.control.sending import Loss, Progress
from sidecar.errors import LiveryError
from sidecar.forward.receiver import Receiver, explain_failure
from sidecar.model.remote_write.push import Group

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 5.0
GROUP_BYTES = 500
"""Memory of a group in the queue, besides its texts."""
_HEADERS = {"Content-Type": "text/plain; version=0.0.4"}


class _Body(NamedTuple):
    text: bytes
    samples: int
    timestamp_ms: int


def _size(group: Group, body: _Body) -> int:
    return GROUP_BYTES + len(group.job) + len(group.instance) + len(body.text)


class Pusher:
    """Pushes to one Pushgateway; of each group only the newest values are queued.

    Args:
        receiver: the Pushgateway.
        limit_bytes: maximum size of the queue.
        deletes: whether groups are deleted at the end.
    """

    def __init__(self, receiver: Receiver, limit_bytes: int, *, deletes: bool = False) -> None:
        self._receiver = receiver
        self._limit_bytes = limit_bytes
        self._deletes = deletes
        self._waiting: dict[Group, _Body] = {}
        self._known: set[Group] = set()
        """Groups that were pushed and not deleted since."""
        self._under_way: _Body | None = None
        """The body of the request in flight."""
        self._news = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.progress = Progress(error=receiver.fault)

    @property
    def place(self) -> object:
        """Where the Pushgateway is."""
        return self._receiver.place

    @property
    def samples(self) -> int:
        """Samples in the queue."""
        return sum(body.samples for body in self._waiting.values())

    @property
    def oldest_ms(self) -> int:
        """Time of the oldest queued values in Unix milliseconds; 0 if the queue is empty."""
        return min((body.timestamp_ms for body in self._waiting.values()), default=0)

    def push(self, groups: Mapping[Group, tuple[bytes, int]], timestamp_ms: int) -> None:
        """Queue the current values in place of older ones; a group that is gone is deleted.

        Args:
            groups: body and number of series of each group.
            timestamp_ms: time of the values, in Unix milliseconds.
        """
        lost = self.progress.lost
        for group in self._waiting.keys() - self._known - groups.keys():
            # Never pushed, and its series are gone.
            lost[Loss.SUPERSEDED] += self._waiting.pop(group).samples
        gone = dict.fromkeys(self._known - groups.keys(), (b"", 0))
        for group, (text, samples) in {**gone, **groups}.items():
            before = self._waiting.pop(group, None)
            if before is not None and before is not self._under_way:
                lost[Loss.SUPERSEDED] += before.samples
            self._waiting[group] = _Body(text, samples, timestamp_ms)
        size = sum(_size(group, body) for group, body in self._waiting.items())
        while size > self._limit_bytes and len(self._waiting) > 1:
            first = next(iter(self._waiting))
            oldest = self._waiting.pop(first)
            lost[Loss.QUEUE_FULL] += oldest.samples
            size -= _size(first, oldest)
        if self._waiting:
            self._is_idle.clear()
            self._news.set()

    async def drained(self) -> None:
        """Wait until the queue is empty."""
        await self._is_idle.wait()

    async def run(self) -> None:
        """Push until cancelled."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            await self._news.wait()
            group, body = next(iter(self._waiting.items()), (None, None))
            if group is None or body is None:
                self._news.clear()
                self._is_idle.set()
                continue
            self._under_way = body
            is_over = await self._put(group, body)
            self._under_way = None
            is_newest = self._waiting.get(group) is body
            if is_over:
                backoff = FIRST_BACKOFF_SECONDS
                if is_newest:
                    del self._waiting[group]
                continue
            if not is_newest:
                self.progress.lost[Loss.SUPERSEDED] += body.samples
            await asyncio.sleep(backoff + random.uniform(0, backoff))
            backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)

    def inherit(self, before: "Pusher") -> None:
        """Take over the queue and the counters of the same receiver under its old settings."""
        self.progress, self._known = before.progress, before._known
        self.progress.error = self._receiver.fault
        self._waiting = before._waiting
        before._waiting = {}
        if self._waiting:
            self._is_idle.clear()
            self._news.set()
        before._receiver.close()

    def resize(self, limit_bytes: int) -> None:
        """Change the maximum size of the queue."""
        self._limit_bytes = limit_bytes

    async def flush(self, seconds: float, *, is_ended: bool = True) -> None:
        """Push the queue, delete groups if they are to be deleted at the end, and close.

        Args:
            seconds: time limit.
            is_ended: whether nobody continues to push: otherwise the groups stay.
        """
        running = asyncio.create_task(self.run())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.drained()
                    if self._deletes and is_ended:
                        for group in sorted(self._known):
                            await self._ask("DELETE", group, b"")
        finally:
            running.cancel()
            self.close()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    def close(self) -> None:
        """Close the connection; queued values are lost."""
        if self.samples:
            self.progress.lost[Loss.ENDED] += self.samples
        self._waiting.clear()
        self._receiver.close()

    async def _put(self, group: Group, body: _Body) -> bool:
        """Replace or delete a group; return whether that succeeded or failed for good."""
        is_over, is_taken = await self._ask("PUT" if body.text else "DELETE", group, body.text)
        if is_taken:
            self.progress.sent += body.samples
            self.progress.last_sent_at = time.time()
            (self._known.add if body.text else self._known.discard)(group)
        elif is_over:
            self.progress.lost[Loss.REFUSED] += body.samples
            if not body.text:
                self._known.discard(group)  # else each push would try again
        return is_over

    async def _ask(self, method: str, group: Group, text: bytes) -> tuple[bool, bool]:
        """Send one request; return whether a retry is useless, and whether it was accepted."""
        try:
            answer = await self._receiver.ask(method, group.path, _HEADERS, text)
        except (LiveryError, TimeoutError, OSError) as error:
            self._note(explain_failure(error))
            return False, False
        if answer.is_success:
            self._note("")
            return True, True
        self._note(answer.sentence)
        return not answer.may_be_retried, False

    def _note(self, sentence: str) -> None:
        extra = {"url": self._receiver.url, "reason": sentence}
        if sentence and sentence != self.progress.error:
            logger.warning("values cannot be pushed", extra=extra)
        self.progress.error = sentence

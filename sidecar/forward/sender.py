"""Sends a queue to one receiver: retries where that may help, and counts every lost sample.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/#retries-backoff
"""

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Sequence

import cramjam

from sidecar.control.sending import Loss, Progress
from sidecar.errors import LiveryError
from sidecar.forward.queue import Batch, SendQueue
from sidecar.forward.receiver import Answer, Receiver, explain_failure
from sidecar.model.remote_write.refused import leave_out, read_named, split_series

logger = logging.getLogger(__name__)

MAX_SENDERS = 4
"""Requests to one receiver at once."""
MAX_SPLITS = 24
"""Splits of one batch, to find out which of its series are refused."""
MAX_CUTS = 127
"""Splits of one batch that is too large: enough for parts of eight series from a thousand."""
TOO_LARGE_SECONDS = 600.0
"""How long a size that was refused as too large is not tried again."""
BACKLOG = 4
"""Queued batches that are needed for each further concurrent request."""
FIRST_BACKOFF_SECONDS = 0.03
LAST_BACKOFF_SECONDS = 5.0
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_NOT_FOUND, _TOO_LARGE = 404, 413
_MAY_NAME = (400, 422)
_OUT_OF_ORDER = re.compile(
    r"out of order|out-of-order|duplicate sample|out of bounds|too old", re.IGNORECASE
)


class Sender:
    """Sends batches to one receiver by remote write.

    Args:
        receiver: the receiver.
        limit_bytes: maximum size of the queue.
    """

    def __init__(self, receiver: Receiver, limit_bytes: int) -> None:
        self._receiver = receiver
        self._queue = SendQueue(limit_bytes)
        self._backoff_seconds = FIRST_BACKOFF_SECONDS
        self._resumes_at = 0.0
        """When the next request may be sent, in monotonic seconds."""
        self._refused_bytes, self._refused_until = 0, 0.0
        """The size of a body that was refused as too large, and until when that is remembered."""
        self.progress = Progress(error=receiver.fault)

    @property
    def place(self) -> object:
        """Where the receiver is."""
        return self._receiver.place

    @property
    def samples(self) -> int:
        """Samples in the queue."""
        return self._queue.samples

    @property
    def oldest_ms(self) -> int:
        """Time of the oldest queued sample in Unix milliseconds; 0 if the queue is empty."""
        return self._queue.oldest_ms

    def inherit(self, before: "Sender") -> None:
        """Take over the queue and the counters of the same receiver under its old settings."""
        self.progress = before.progress
        self.progress.error = self._receiver.fault
        for batch in before._queue.hand_over():
            self.push(batch)
        before._receiver.close()

    def resize(self, limit_bytes: int) -> None:
        """Change the maximum size of the queue."""
        self._queue.limit_bytes = limit_bytes

    def push(self, batch: Batch) -> None:
        """Queue a batch; the oldest ones are lost if there is no room for all."""
        dropped = self._queue.push(batch)
        if dropped:
            self.progress.lost[Loss.QUEUE_FULL] += dropped
        if batch.samples and not len(self._queue):
            size, room = len(batch.body) >> 10, self._queue.limit_bytes >> 10
            self._note(f"a request of {size} KiB is larger than the queue, which has {room} KiB")

    async def drained(self) -> None:
        """Wait until the queue is empty."""
        await self._queue.drained()

    async def run(self) -> None:
        """Send until cancelled; batches that were being sent are then queued again."""
        async with asyncio.TaskGroup() as group:
            for number in range(MAX_SENDERS):
                group.create_task(self._work(1 + number * BACKLOG))

    async def flush(self, seconds: float, *, is_ended: bool = True) -> None:
        """Send the queue within a time limit, and close; `is_ended` makes no difference."""
        running = asyncio.create_task(self.run())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._queue.drained()
        finally:
            running.cancel()
            self.close()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    def close(self) -> None:
        """Close the connections; queued samples are lost."""
        dropped = self._queue.clear()
        if dropped:
            self.progress.lost[Loss.ENDED] += dropped
            extra = {"url": self._receiver.url, "samples": dropped}
            logger.warning("samples were not sent before the end", extra=extra)
        self._receiver.close()

    async def _work(self, least: int) -> None:
        while True:
            batch = await self._queue.take(least)
            try:
                await self._send(batch)
            except asyncio.CancelledError:
                self._queue.give_back(batch)
                raise
            except Exception as error:
                # A batch that cannot be sent must not block those after it for ever.
                logger.exception("a batch cannot be sent", extra={"url": self._receiver.url})
                self.progress.lost[Loss.REFUSED] += batch.samples
                self.progress.error = f"internal error: {type(error).__name__}; see the log"
            self._queue.done(batch)

    async def _send(self, batch: Batch) -> None:
        """Send a batch, or at least its valid part, before the next one of its lane is sent."""
        parts, splits, cuts = [batch], MAX_SPLITS, MAX_CUTS
        while parts:
            part = parts.pop(0)
            if cuts and part.samples > 1 and self._is_too_large(part):
                parts = [*await asyncio.to_thread(_halves, part), *parts]
                cuts -= 1
                continue
            answer = await self._offer(part)
            if answer.is_success:
                continue
            if answer.status == _TOO_LARGE and cuts and part.samples > 1:
                self._refused_bytes = len(part.body)
                self._refused_until = time.monotonic() + TOO_LARGE_SECONDS
                parts = [part, *parts]
                continue
            rest = await self._judge(part, answer, may_split=splits > 0)
            splits -= bool(rest)
            parts = [*rest, *parts]

    def _is_too_large(self, batch: Batch) -> bool:
        """Return whether a body of this size or smaller was recently refused as too large."""
        is_known = time.monotonic() < self._refused_until
        return is_known and len(batch.body) >= self._refused_bytes

    async def _offer(self, batch: Batch) -> Answer:
        """Send a batch, with retries, until the receiver accepts or refuses it for good."""
        while True:
            await self._pause()
            try:
                answer = await self._receiver.ask("POST", "", _HEADERS, batch.body)
            except (LiveryError, TimeoutError, OSError) as error:
                self._fail(explain_failure(error), 0.0)
                continue
            if answer.is_success:
                self._succeed(batch)
                return answer
            if answer.may_be_retried:
                self._fail(answer.sentence, answer.retry_after_seconds)
                continue
            self._backoff_seconds = FIRST_BACKOFF_SECONDS
            return answer

    async def _pause(self) -> None:
        # Only once: if another sender fails meanwhile, this one finds out by its own request.
        if (seconds := self._resumes_at - time.monotonic()) > 0:
            await asyncio.sleep(seconds)

    def _fail(self, sentence: str, retry_after_seconds: float) -> None:
        """Note a temporary failure; all senders wait before their next request."""
        self._note(sentence)
        wait = retry_after_seconds or self._backoff_seconds
        # With jitter: all senders of a receiver lose it at the same moment.
        wait += random.uniform(0, self._backoff_seconds)
        self._resumes_at = time.monotonic() + wait
        self._backoff_seconds = min(2 * self._backoff_seconds, LAST_BACKOFF_SECONDS)

    def _succeed(self, batch: Batch) -> None:
        progress = self.progress
        if progress.error:
            logger.info("a receiver accepts samples again", extra={"url": self._receiver.url})
        progress.error = ""
        progress.sent += batch.samples
        progress.last_sent_at = time.time()
        self._backoff_seconds = FIRST_BACKOFF_SECONDS

    async def _judge(self, batch: Batch, answer: Answer, *, may_split: bool) -> Sequence[Batch]:
        """Handle a batch that was refused for good; return the parts to send again."""
        is_out_of_order = _OUT_OF_ORDER.search(answer.text) is not None
        if is_out_of_order and batch.may_be_there:
            # It was. Such a batch has samples of one moment: it arrived as a whole, or not at all.
            return ()
        sentence = answer.sentence
        if answer.status == _NOT_FOUND:
            sentence += " (a Prometheus needs --web.enable-remote-write-receiver)"
        self._note(sentence)
        # Some receivers refuse a whole request for one out-of-order series without naming it.
        if is_out_of_order and batch.samples > 1 and may_split:
            return await asyncio.to_thread(_halves, batch)
        if is_out_of_order:
            self.progress.lost[Loss.OUT_OF_ORDER] += batch.samples
            return ()
        named = read_named(answer.text) if may_split and answer.status in _MAY_NAME else []
        left = await asyncio.to_thread(_without, batch, named) if named else ()
        self.progress.lost[Loss.REFUSED] += batch.samples - sum(one.samples for one in left)
        return left

    def _note(self, sentence: str) -> None:
        if sentence != self.progress.error:
            extra = {"url": self._receiver.url, "reason": sentence}
            logger.warning("samples cannot be sent", extra=extra)
        self.progress.error = sentence


def _split(batch: Batch) -> list[bytes]:
    return split_series(bytes(cramjam.snappy.decompress_raw(batch.body)))


def _without(batch: Batch, named: Sequence[dict[str, str]]) -> Sequence[Batch]:
    """Return a batch without some of its series; nothing if it has none of them, or no others."""
    series = _split(batch)
    left = leave_out(series, named)
    return [_join(batch, left)] if 0 < len(left) < len(series) else ()


def _join(batch: Batch, series: Sequence[bytes]) -> Batch:
    body = bytes(cramjam.snappy.compress_raw(b"".join(series)))
    return batch._replace(body=body, samples=len(series))


def _halves(batch: Batch) -> Sequence[Batch]:
    series = _split(batch)
    middle = (len(series) + 1) // 2
    return [_join(batch, part) for part in (series[:middle], series[middle:]) if part]

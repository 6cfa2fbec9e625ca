"""Sends what waits in a queue to one receiver: again where it may help, never silently.

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
"""Of one batch, to find out which of its series are refused."""
MAX_CUTS = 127
"""Of one batch that is too large: into parts of eight series, where it has a thousand."""
TOO_LARGE_SECONDS = 600.0
"""How long a size that was refused as too large is not tried again."""
BACKLOG = 4
"""Batches that must wait for each further one."""
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
        receiver: where they go.
        limit_bytes: of all that waits.
    """

    def __init__(self, receiver: Receiver, limit_bytes: int) -> None:
        self._receiver = receiver
        self._queue = SendQueue(limit_bytes)
        self._backoff_seconds = FIRST_BACKOFF_SECONDS
        self._resumes_at = 0.0
        """When the receiver may be asked again, in monotonic seconds."""
        self._refused_bytes, self._refused_until = 0, 0.0
        """The size of a body that was too large, and until when that is held to be so."""
        self.progress = Progress(error=receiver.fault)

    @property
    def place(self) -> object:
        """Where the receiver is."""
        return self._receiver.place

    @property
    def samples(self) -> int:
        """That wait."""
        return self._queue.samples

    @property
    def oldest_ms(self) -> int:
        """When the oldest sample was taken that waits, as Unix time; 0 where none does."""
        return self._queue.oldest_ms

    def inherit(self, before: "Sender") -> None:
        """Take over what waits for the same receiver under other settings, and what was counted."""
        self.progress = before.progress
        self.progress.error = self._receiver.fault
        for batch in before._queue.hand_over():
            self.push(batch)
        before._receiver.close()

    def resize(self, limit_bytes: int) -> None:
        """Let so much wait from now on."""
        self._queue.limit_bytes = limit_bytes

    def push(self, batch: Batch) -> None:
        """Let a batch wait; the oldest ones are lost where there is no room for all."""
        dropped = self._queue.push(batch)
        if dropped:
            self.progress.lost[Loss.QUEUE_FULL] += dropped
        if batch.samples and not len(self._queue):
            size, room = len(batch.body) >> 10, self._queue.limit_bytes >> 10
            self._note(f"a request of {size} KiB is larger than all that may wait: {room} KiB")

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
        await self._queue.drained()

    async def run(self) -> None:
        """Send until cancelled; what was being sent then waits again."""
        async with asyncio.TaskGroup() as group:
            for number in range(MAX_SENDERS):
                group.create_task(self._work(1 + number * BACKLOG))

    async def flush(self, seconds: float, *, is_ended: bool = True) -> None:
        """Send what waits, for so long at most; whether anybody goes on makes no difference."""
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
        """Drop the connections; what waits is lost."""
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
                # A batch that cannot be sent must not hold those behind it for ever.
                logger.exception("a batch cannot be sent", extra={"url": self._receiver.url})
                self.progress.lost[Loss.REFUSED] += batch.samples
                self.progress.error = f"a fault of Livery's: {type(error).__name__}"
            self._queue.done(batch)

    async def _send(self, batch: Batch) -> None:
        """Send a batch, its good part at least: nothing of its lane overtakes it."""
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
        """Tell whether a smaller body was refused as too large of late."""
        is_known = time.monotonic() < self._refused_until
        return is_known and len(batch.body) >= self._refused_bytes

    async def _offer(self, batch: Batch) -> Answer:
        """Send a batch until the receiver has decided; returns what it said."""
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
        # Once: what another sender learned meanwhile, this one learns from its own answer.
        if (seconds := self._resumes_at - time.monotonic()) > 0:
            await asyncio.sleep(seconds)

    def _fail(self, sentence: str, retry_after_seconds: float) -> None:
        """Note that it may work later; all senders wait until then."""
        self._note(sentence)
        wait = retry_after_seconds or self._backoff_seconds
        # Spread: all senders of a receiver lose it at the same moment.
        wait += random.uniform(0, self._backoff_seconds)
        self._resumes_at = time.monotonic() + wait
        self._backoff_seconds = min(2 * self._backoff_seconds, LAST_BACKOFF_SECONDS)

    def _succeed(self, batch: Batch) -> None:
        progress = self.progress
        if progress.error:
            logger.info("a receiver takes samples again", extra={"url": self._receiver.url})
        progress.error = ""
        progress.sent += batch.samples
        progress.last_sent_at = time.time()
        self._backoff_seconds = FIRST_BACKOFF_SECONDS

    async def _judge(self, batch: Batch, answer: Answer, *, may_split: bool) -> Sequence[Batch]:
        """Say what becomes of a batch that was refused for good: its good part is left."""
        is_out_of_order = _OUT_OF_ORDER.search(answer.text) is not None
        if is_out_of_order and batch.may_be_there:
            # It was. Such batches are one moment's: they are there whole, or not at all.
            return ()
        sentence = answer.sentence
        if answer.status == _NOT_FOUND:
            sentence += " (a Prometheus needs --web.enable-remote-write-receiver)"
        self._note(sentence)
        # Some take nothing of a request of which one series is out of order, and do not say which.
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
    """Return what is left of a batch without some series; nothing where it has none of them."""
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

"""One rule's receivers, each with what waits for it: one slow receiver does not hold the others."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import cramjam

from sidecar.control.sending import Loss, Progress, Sending
from sidecar.forward.addresses import Reach
from sidecar.forward.pusher import Pusher
from sidecar.forward.queue import Batch
from sidecar.forward.receiver import Receiver
from sidecar.forward.resolver import Resolver
from sidecar.forward.sender import MAX_SENDERS, Sender
from sidecar.model.policy.forward import Forwarding, ForwardRule, ReceiverAddress, ReceiverKind
from sidecar.model.policy.secret import Credentials
from sidecar.model.remote_write.push import Group
from sidecar.model.remote_write.requests import MAX_SERIES, Request
from sidecar.process.supervisor import keep_up

MAX_BATCH_BYTES = 1 << 20
"""Of a batch before it is packed, where it has more than one request."""


class Channel(Protocol):
    """The way to one receiver."""

    progress: Progress

    @property
    def place(self) -> object:
        """Where the receiver is."""

    @property
    def samples(self) -> int:
        """That wait."""

    @property
    def oldest_ms(self) -> int:
        """When the oldest was taken that waits, as Unix time; 0 where none does."""

    def run(self) -> Awaitable[None]:
        """Send until cancelled."""

    def flush(self, seconds: float, *, is_ended: bool = True) -> Awaitable[None]:
        """Send what waits, for so long at most, and end; `is_ended` says that nobody goes on."""

    def resize(self, limit_bytes: int) -> None:
        """Let so much wait from now on."""

    def close(self) -> None:
        """End; what waits is lost."""


class Outlet:
    """The receivers of one rule.

    Args:
        rule: whose.
        around: by which they are reached.
        forbidden: addresses to which nothing is sent.
        resolver: finds their addresses.
        limit_bytes: of all that waits for one of them.
        namespace: of the rule's object.
    """

    def __init__(
        self,
        rule: ForwardRule,
        around: Forwarding,
        forbidden: frozenset[str],
        *,
        resolver: Resolver,
        limit_bytes: int,
        namespace: str,
    ) -> None:
        self.namespace = namespace
        self._resolve = partial(resolver.resolve, asker=namespace)
        self._facts = _facts_of(rule, around)
        """All that the receivers depend on."""
        self._writes: list[Sender] = []
        self._pushes: list[Pusher] = []
        self._past = Progress()
        """Of receivers that the rule no longer has."""
        self._tasks: list[asyncio.Task[None]] = []
        for address in rule.receivers:
            reach = Reach(address.is_service, around.allowed, forbidden)
            self._open(address, around.credentials, reach, limit_bytes)

    def _open(
        self, address: ReceiverAddress, credentials: Credentials, reach: Reach, limit_bytes: int
    ) -> None:
        needed = {name: credentials[name] for name in address.credentials if name in credentials}
        receiver = Receiver(address, needed, reach, resolve=self._resolve, connections=MAX_SENDERS)
        if address.kind is ReceiverKind.PUSH:
            pusher = Pusher(receiver, limit_bytes, deletes=address.deletes_on_shutdown)
            self._pushes.append(pusher)
        else:
            self._writes.append(Sender(receiver, limit_bytes))

    def serves(self, rule: ForwardRule, around: Forwarding) -> bool:
        """Tell whether another rule's receivers are these."""
        return self._facts == _facts_of(rule, around)

    def inherit(self, before: "Outlet") -> None:
        """Take over what waits for the same receivers under other settings."""
        before.stop()
        self._past = before._past
        senders, pushers = list(before._writes), list(before._pushes)
        for sender in self._writes:
            if (previous := _pick(senders, sender.place)) is not None:
                sender.inherit(previous)
        for pusher in self._pushes:
            if (earlier := _pick(pushers, pusher.place)) is not None:
                pusher.inherit(earlier)
        left: list[Channel] = [*senders, *pushers]
        for gone in left:
            gone.close()
            self._past.add(gone.progress)

    def resize(self, limit_bytes: int) -> None:
        """Let so much wait for each receiver from now on."""
        for channel in self._channels:
            channel.resize(limit_bytes)

    @property
    def _channels(self) -> Sequence[Channel]:
        return [*self._writes, *self._pushes]

    def put(self, batches: Iterable[Batch]) -> None:
        """Let batches wait to be written, for every receiver."""
        for batch in batches:
            for sender in self._writes:
                sender.push(batch)

    def push(self, groups: Mapping[Group, tuple[bytes, int]], timestamp_ms: int) -> None:
        """Let groups wait to be pushed; the arguments are those of `Pusher.push`."""
        for pusher in self._pushes:
            pusher.push(groups, timestamp_ms)

    def start(self) -> None:
        """Send what waits, from now on."""
        if not self._tasks:
            self._tasks = [asyncio.ensure_future(keep_up(one.run)) for one in self._channels]

    def stop(self) -> None:
        """Send nothing more; what waits stays."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def flush(self, seconds: float, *, is_ended: bool = True) -> None:
        """Send what waits, for so long at most, and end.

        Args:
            seconds: how long.
            is_ended: whether nobody goes on with the rule.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        flushes = [channel.flush(seconds, is_ended=is_ended) for channel in self._channels]
        await asyncio.gather(*flushes)

    def state(self, rule: str, series: int, unmatched: tuple[str, ...]) -> Sending:
        """Return how it goes.

        Args:
            rule: the name of the object.
            series: that are sent each time.
            unmatched: patterns that no series fulfils.
        """
        channels = self._channels
        progress = [self._past, *(channel.progress for channel in channels)]
        waits = [channel.oldest_ms for channel in channels if channel.oldest_ms]
        lost: Counter[Loss] = Counter()
        for one in progress:
            lost.update(one.lost)
        return Sending(
            namespace=self.namespace,
            rule=rule,
            sent=sum(one.sent for one in progress),
            lost=lost,
            waiting=sum(channel.samples for channel in channels),
            lag_seconds=max(0.0, time.time() - min(waits) / 1000) if waits else 0.0,
            last_sent_at=max((one.last_sent_at for one in progress), default=0.0),
            error=next((one.error for one in progress if one.error), ""),
            series=series,
            unmatched=unmatched,
        )


def pack(
    requests: Iterable[Request],
    metadata: bytes,
    timestamp_ms: int,
    generation: int,
    *,
    may_be_there: bool = False,
) -> list[Batch]:
    """Make batches of requests, as few as they fit into.

    Args:
        requests: in the order in which they are to arrive.
        metadata: of their families; they go alone, as the last ones.
        timestamp_ms: of the samples, as Unix time.
        generation: a higher one than before where the series are others than before.
        may_be_there: whether another sender may have sent the same already.
    """
    whole: list[Batch] = []
    bodies: list[bytes] = []
    batch = Batch(b"", 0, timestamp_ms, 0, generation, may_be_there)
    size = 0
    for request in requests:
        is_full = batch.samples + request.samples > MAX_SERIES
        if bodies and (is_full or size + len(request.body) > MAX_BATCH_BYTES):
            whole.append(batch._replace(body=_pack(bodies)))
            bodies, size, batch = [], 0, batch._replace(samples=0, lane=batch.lane + 1)
        bodies.append(request.body)
        size += len(request.body)
        batch = batch._replace(samples=batch.samples + request.samples)
    if bodies:
        whole.append(batch._replace(body=_pack(bodies)))
    if metadata:
        whole.append(batch._replace(body=_pack([metadata]), samples=0, lane=len(whole)))
    return whole


def _pack(bodies: Sequence[bytes]) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"".join(bodies)))


AnyChannel = TypeVar("AnyChannel", bound=Channel)


def _pick(channels: list[AnyChannel], place: object) -> AnyChannel | None:
    """Take the one that leads to a place out of a list; None where there is none."""
    found = next((one for one in channels if one.place == place), None)
    if found is not None:
        channels.remove(found)
    return found


def _facts_of(rule: ForwardRule, around: Forwarding) -> object:
    names = frozenset(name for one in rule.receivers for name in one.credentials)
    found = {name: around.credentials.get(name) for name in names}
    return rule.receivers, around.allowed, found

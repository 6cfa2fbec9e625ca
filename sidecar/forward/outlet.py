"""One rule's receivers, each with its own queue: a slow receiver does not delay the others."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import cramjam

from sidecar.control.sending import Loss, Progress, Sending
from sidecar.forward.addresses import Address, Reach
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
"""Maximum size of a batch of several requests, before compression."""


class Channel(Protocol):
    """The queue and the sender of one receiver."""

    progress: Progress

    @property
    def place(self) -> object:
        """Where the receiver is."""

    @property
    def samples(self) -> int:
        """Samples in the queue."""

    @property
    def oldest_ms(self) -> int:
        """Time of the oldest queued sample in Unix milliseconds; 0 if the queue is empty."""

    def run(self) -> Awaitable[None]:
        """Send until cancelled."""

    def flush(self, seconds: float, *, is_ended: bool = True) -> Awaitable[None]:
        """Send the queue within a time limit, and close; `is_ended`: nobody continues the rule."""

    def resize(self, limit_bytes: int) -> None:
        """Change the maximum size of the queue."""

    def close(self) -> None:
        """Close; queued samples are lost."""


class Outlet:
    """The receivers of one rule.

    Args:
        rule: the rule.
        around: the forwarding policy, with allowed address ranges and credentials.
        forbidden: addresses to which nothing is sent.
        resolver: resolves the receivers' names.
        limit_bytes: maximum size of the queue of one receiver.
        namespace: namespace of the rule's object.
    """

    def __init__(
        self,
        rule: ForwardRule,
        around: Forwarding,
        forbidden: frozenset[Address],
        *,
        resolver: Resolver,
        limit_bytes: int,
        namespace: str,
    ) -> None:
        self.namespace = namespace
        self._resolve = partial(resolver.resolve, asker=namespace)
        self._facts = _facts_of(rule, around)
        """Everything that the receivers depend on."""
        self._writes: list[Sender] = []
        self._pushes: list[Pusher] = []
        self._past = Progress()
        """Progress of receivers that the rule no longer has."""
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
        """Return whether another rule has the same receivers with the same settings."""
        return self._facts == _facts_of(rule, around)

    def inherit(self, before: "Outlet") -> None:
        """Take over the queues of the same receivers under their old settings."""
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
        """Change the maximum size of each receiver's queue."""
        for channel in self._channels:
            channel.resize(limit_bytes)

    @property
    def _channels(self) -> Sequence[Channel]:
        return [*self._writes, *self._pushes]

    def put(self, batches: Iterable[Batch]) -> None:
        """Queue batches for every receiver of remote write."""
        for batch in batches:
            for sender in self._writes:
                sender.push(batch)

    def push(self, groups: Mapping[Group, tuple[bytes, int]], timestamp_ms: int) -> None:
        """Queue groups for every Pushgateway; the arguments are those of `Pusher.push`."""
        for pusher in self._pushes:
            pusher.push(groups, timestamp_ms)

    def start(self) -> None:
        """Start sending."""
        if not self._tasks:
            self._tasks = [asyncio.ensure_future(keep_up(one.run)) for one in self._channels]

    def stop(self) -> None:
        """Stop sending; the queues stay."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def flush(self, seconds: float, *, is_ended: bool = True) -> None:
        """Send the queues within a time limit, and close.

        Args:
            seconds: time limit.
            is_ended: whether nobody continues the rule.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        flushes = [channel.flush(seconds, is_ended=is_ended) for channel in self._channels]
        await asyncio.gather(*flushes)

    def state(self, rule: str, series: int, unmatched: tuple[str, ...]) -> Sending:
        """Return the state of sending.

        Args:
            rule: name of the rule's object.
            series: number of series that are sent each time.
            unmatched: patterns that match no series.
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


class Packer:
    """Packs one rule's requests into batches, for the rule's whole lifetime.

    A series stays in its lane for as long as the plan and the batches' sizes stay the same. Then a
    new generation begins, which is sent after the previous one.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._layout: object = None

    def pack(
        self,
        requests: Iterable[Request],
        timestamp_ms: int,
        plan: int,
        metadata: bytes = b"",
        *,
        may_be_there: bool = False,
    ) -> list[Batch]:
        """Pack requests into as few batches as possible.

        Args:
            requests: in the order in which they are to arrive.
            timestamp_ms: timestamp of the samples, in Unix milliseconds.
            plan: changes whenever other series are sent, or in another order.
            metadata: metadata of their families, sent last, in a batch of its own.
            may_be_there: whether another sender may have sent the same already.
        """
        whole = [(_pack(bodies), samples) for bodies, samples in _gather(requests)]
        layout = (plan, *(samples for _, samples in whole))
        if layout != self._layout:
            self._layout = layout
            self._generation += 1
        if metadata:
            whole.append((_pack([metadata]), 0))
        return [
            Batch(body, samples, timestamp_ms, lane, self._generation, may_be_there)
            for lane, (body, samples) in enumerate(whole)
        ]


def _gather(requests: Iterable[Request]) -> Iterator[tuple[list[bytes], int]]:
    """Yield the bodies of each batch, with their number of samples."""
    bodies: list[bytes] = []
    samples = size = 0
    for request in requests:
        is_full = samples + request.samples > MAX_SERIES
        if bodies and (is_full or size + len(request.body) > MAX_BATCH_BYTES):
            yield bodies, samples
            bodies, samples, size = [], 0, 0
        bodies.append(request.body)
        samples += request.samples
        size += len(request.body)
    if bodies:
        yield bodies, samples


def _pack(bodies: Sequence[bytes]) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"".join(bodies)))


AnyChannel = TypeVar("AnyChannel", bound=Channel)


def _pick(channels: list[AnyChannel], place: object) -> AnyChannel | None:
    """Remove the channel to a place from a list, and return it; None if there is none."""
    found = next((one for one in channels if one.place == place), None)
    if found is not None:
        channels.remove(found)
    return found


def _facts_of(rule: ForwardRule, around: Forwarding) -> object:
    names = frozenset(name for one in rule.receivers for name in one.credentials)
    found = {name: around.credentials.get(name) for name in names}
    return rule.receivers, around.allowed, found

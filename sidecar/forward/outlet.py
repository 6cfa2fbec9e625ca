"""One rule's receivers, each with what waits for it: one slow receiver does not hold the others."""

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
        forbidden: frozenset[Address],
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


class Packer:
    """Makes batches of one rule's requests, for all its life.

    A series stays in its lane for as long as the plan and the batches' sizes stay the same; else a
    new generation begins, which waits for the one before.
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
        """Make batches of requests, as few as they fit into.

        Args:
            requests: in the order in which they are to arrive.
            timestamp_ms: of the samples, as Unix time.
            plan: another one than before where other series are sent, or in another order.
            metadata: of their families; they go alone, as the last ones.
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
    """Yield the bodies of one batch after the other, with their samples."""
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
    """Take the one that leads to a place out of a list; None where there is none."""
    found = next((one for one in channels if one.place == place), None)
    if found is not None:
        channels.remove(found)
    return found


def _facts_of(rule: ForwardRule, around: Forwarding) -> object:
    names = frozenset(name for one in rule.receivers for name in one.credentials)
    found = {name: around.credentials.get(name) for name in names}
    return rule.receivers, around.allowed, found

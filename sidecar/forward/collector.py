"""Reads the series that objects send from the platform's Prometheus, at times all collectors share.

An instant query for a past moment gives every collector the same result at any later time: where
two collectors overlap, they write the same samples, and a missed moment is queried later.
"""

import asyncio
import logging
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from sidecar.control.sending import Sending
from sidecar.errors import LiveryError, QueryRefusedError, RuleError
from sidecar.forward.outlet import Outlet, Packer
from sidecar.forward.outlets import Outlets
from sidecar.forward.queue import Batch
from sidecar.gateway.answers import read_data, read_whole
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.parameters import write_parameters
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import Refusal
from sidecar.model.access.views import view_of
from sidecar.model.policy.collector import CollectorPolicy
from sidecar.model.policy.forward import Forwarding, ForwardRule
from sidecar.model.promql.enforcement import everything
from sidecar.model.remote_write.push import Group, PushLine, push_line, write_groups
from sidecar.model.remote_write.requests import (
    MAX_MOMENT_BYTES,
    check_room,
    mark_ended,
    write_vector,
)

logger = logging.getLogger(__name__)

QUEUE_BYTES = 8 << 20
"""Maximum size of the queue of one receiver of a rule."""
ALL_QUEUES_BYTES = 128 << 20
MAX_ANSWER_BYTES = 8 << 20
"""Maximum size of all responses to a rule's queries; parsed, they briefly take eight times that."""
AT_ONCE = 4
"""Rules that are queried concurrently."""
AT_ONCE_OF_NAMESPACE = 1
"""The same for one namespace, so that its many rules do not delay those of others."""
MAX_RELABELINGS = 200_000
"""Relabel rules applied to a rule's series at one moment: a second or two of CPU time."""
SETTLE_SECONDS = 3.0
"""How long after a moment it is queried: the scrapes of that moment have to be stored by then."""
SPREAD_SECONDS = 5.0
"""Period over which the queries of one moment are spread."""
TAKEOVER_SECONDS = 120
"""How far back a new collector of a namespace queries: its predecessor may have missed moments."""
MAX_BEHIND_SECONDS = 300.0
"""Moments that are longer ago are not queried any more."""
RETRY_SECONDS = 2.0
_PATH = "/api/v1/query"

Series = tuple[Mapping[str, str], float]


class Collector:
    """Sends for the namespaces that are assigned to this collector.

    Args:
        backends: the platform's Prometheus servers.
        staleness: returns why the current rules may be out of date; empty if they are not.
        environ: environment with the control plane's address, to which nothing is sent.
    """

    def __init__(
        self,
        backends: BackendGroup,
        staleness: Callable[[], str] = str,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._backends = backends
        self._staleness = staleness
        self._outlets = Outlets(environ)
        self._rules: dict[tuple[str, str], _CollectedRule] = {}
        """By namespace and name of their objects."""
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._own_turns: dict[str, asyncio.Semaphore] = {}
        """By namespace."""
        self._changed = asyncio.Event()

    def use(self, policy: CollectorPolicy) -> None:
        """Apply new rules; rules that stay keep their queues."""
        forwarding = policy.forwarding()
        sending = sum(bool(around.rules) for around in forwarding.values())
        kept: dict[tuple[str, str], _CollectedRule] = {}
        for namespace, around in forwarding.items():
            share = _queue_share(around, sending)
            for rule in around.rules:
                key = (namespace, rule.name)
                known = self._rules.get(key)
                outlet = self._outlets.outlet(
                    rule,
                    around,
                    known.outlet if known else None,
                    limit_bytes=share,
                    namespace=namespace,
                )
                if known is not None and known.is_pushing is rule.is_pushing:
                    kept[key] = self._rules.pop(key)
                    known.use(rule, policy.namespace_label, outlet)
                else:
                    kept[key] = _CollectedRule(rule, policy.namespace_label, outlet)
        for (namespace, _), gone in self._rules.items():
            is_ended = namespace in forwarding  # else it is another collector's now
            if is_ended:
                gone.end()
            self._outlets.leave(gone.outlet, is_ended=is_ended)
        self._rules = kept
        for namespace in self._own_turns.keys() - forwarding.keys():
            del self._own_turns[namespace]
        self._changed.set()

    async def run(self) -> None:
        """Send until cancelled."""
        tasks: dict[_CollectedRule, asyncio.Task[None]] = {}
        try:
            while True:
                self._changed.clear()
                present = set(self._rules.values())
                for rule in tasks.keys() - present:
                    tasks.pop(rule).cancel()
                for rule in present:
                    rule.outlet.start()
                    if rule not in tasks:
                        tasks[rule] = asyncio.create_task(self._follow(rule))
                await self._changed.wait()
        finally:
            for task in tasks.values():
                task.cancel()
            for rule in self._rules.values():
                rule.outlet.stop()

    async def flush(self, seconds: float) -> None:
        """Send all queues within a time limit: another collector continues."""
        outlets = [rule.outlet for rule in self._rules.values()]
        await self._outlets.flush(outlets, seconds, is_ended=False)

    def state(self) -> list[Sending]:
        """Return the state of sending of each rule."""
        return [rule.state() for rule in self._rules.values()]

    async def _follow(self, rule: "_CollectedRule") -> None:
        """Collect one rule's series at each of its moments."""
        while True:
            moment = rule.next_moment(time.time())
            wait = moment + rule.delay_seconds - time.time()
            if wait > 0:
                await asyncio.sleep(wait)
            try:
                async with self._own_turn(rule), self._turns:
                    await self._collect(rule, moment)
            except LiveryError as error:
                rule.fail(str(error))
                if _is_final(error):
                    rule.done_ms = moment * 1000
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("a rule cannot be collected", extra={"rule": rule.name})
                await asyncio.sleep(RETRY_SECONDS)

    def _own_turn(self, rule: "_CollectedRule") -> asyncio.Semaphore:
        namespace = rule.outlet.namespace
        return self._own_turns.setdefault(namespace, asyncio.Semaphore(AT_ONCE_OF_NAMESPACE))

    async def _collect(self, rule: "_CollectedRule", moment: int) -> None:
        fault = self._staleness()
        if fault:
            raise LiveryError(fault)
        found: list[Series] = []
        room = MAX_ANSWER_BYTES
        for selector in rule.selectors():
            form = write_parameters([("query", selector), ("time", str(moment))])
            asked = await self._backends.ask(Question("POST", _PATH, form), takes_gzip=False)
            body = await read_whole(asked, room)
            room -= len(body)
            found += await asyncio.to_thread(read_vector, body)
        put = await asyncio.to_thread(rule.take, found, moment)
        put()


def _queue_share(around: Forwarding, namespaces: int) -> int:
    """Return the queue size of one receiver: namespaces that send share the total equally."""
    receivers = sum(len(rule.receivers) for rule in around.rules)
    return min(QUEUE_BYTES, ALL_QUEUES_BYTES // max(1, namespaces) // max(1, receivers))


def _is_final(error: LiveryError) -> bool:
    """Return whether the same query would fail again, so that its moment is skipped."""
    return isinstance(error, QueryRefusedError | RuleError) or (
        isinstance(error, Refusal) and error.status < 500
    )


class _CollectedRule:
    """One rule, and what was sent under it."""

    def __init__(self, rule: ForwardRule, namespace_label: str, outlet: Outlet) -> None:
        self._rule = rule
        self._namespace_label = namespace_label
        self.outlet = outlet
        self.name = f"{outlet.namespace}/{rule.name}"
        self.done_ms = 0
        """The last moment that is done, in Unix milliseconds; 0 before the first."""
        self._began_ms = 0
        """The first moment, in Unix milliseconds, that no other collector may have sent."""
        self._packer = Packer()
        self._plan = 0
        """Number of times that the set of sent series, or their order, changed."""
        self._sent: tuple[bytes, ...] = ()
        """Labels of the series that were sent last, in their order."""
        self._series = 0
        """Number of series that were sent last."""
        self._error = ""

    @property
    def delay_seconds(self) -> float:
        """How long after a moment it is queried; different for each rule."""
        spread = min(SPREAD_SECONDS, self._rule.interval_seconds / 4)
        return SETTLE_SECONDS + spread * (zlib.crc32(self.name.encode()) / 2**32)

    @property
    def is_pushing(self) -> bool:
        """Whether it pushes to Pushgateways."""
        return self._rule.is_pushing

    def use(self, rule: ForwardRule, namespace_label: str, outlet: Outlet) -> None:
        """Apply another version of the rule; series that it no longer sends are marked as ended."""
        if outlet is not self.outlet:
            outlet.inherit(self.outlet)
            self.outlet = outlet
        self._rule, self._namespace_label = rule, namespace_label

    def selectors(self) -> list[str]:
        """Return the selectors to query.

        Raises:
            QueryRefusedError: the rule needs too many selectors.
        """
        return everything(view_of([self._rule.sending.access], self._namespace_label))

    def next_moment(self, now: float) -> int:
        """Return the next moment to query, in Unix seconds."""
        interval = math.ceil(self._rule.interval_seconds)
        newest = int((now - self.delay_seconds) // interval * interval)
        if not self.done_ms or self.done_ms / 1000 > now:  # the start, or the clock was set back
            self._begin(newest, interval)
        if self.done_ms / 1000 < newest - MAX_BEHIND_SECONDS:
            self.done_ms = (newest - interval) * 1000  # older moments are given up
        return self.done_ms // 1000 // interval * interval + interval

    def _begin(self, newest: int, interval: int) -> None:
        before = 0 if self.is_pushing else TAKEOVER_SECONDS // interval * interval
        self._began_ms = newest * 1000
        self.done_ms = (newest - before - interval) * 1000

    def take(self, found: list[Series], moment: int) -> Callable[[], None]:
        """Relabel series and build their requests; return a function that queues them.

        This may run in a thread; the returned function must run in the event loop.

        Raises:
            RuleError: there are too many relabelings, or the relabeled series are too large.
        """
        rule, stamp = self._rule, moment * 1000
        relabelings = len(found) * len(rule.sending.access.relabelings)
        if relabelings > MAX_RELABELINGS:
            why = f"{relabelings} uses on its {len(found)} series; {MAX_RELABELINGS} are allowed"
            raise RuleError("metricRelabelings", f"{why}: send fewer series, or use fewer rules")
        named = (
            (labels, value)
            for own, value in found
            if (labels := rule.sending.name_of(own)) is not None
        )
        if rule.is_pushing:
            job_name = rule.receivers[0].job_name
            written = list(_push_lines(named, job_name))
            return partial(self._push, write_groups(written), len(written), stamp)
        requests, present = write_vector(named, stamp)
        plan = self._plan
        if present != self._sent:
            plan += 1
            requests = [*mark_ended(set(self._sent) - set(present), stamp), *requests]
        may_be_there = stamp < self._began_ms
        batches = self._packer.pack(requests, stamp, plan, may_be_there=may_be_there)
        return partial(self._put, batches, present, plan, stamp)

    def _put(self, batches: list[Batch], present: tuple[bytes, ...], plan: int, stamp: int) -> None:
        self._error, self.done_ms = "", stamp
        self._sent, self._plan = present, plan
        self._series = len(present)
        self.outlet.put(batches)

    def end(self) -> None:
        """Queue staleness markers for all series."""
        stamp = max(int(time.time() * 1000), self.done_ms + 1)
        self._plan += 1
        self.outlet.put(self._packer.pack(mark_ended(self._sent, stamp), stamp, self._plan))

    def fail(self, reason: str) -> None:
        """Note why it could not be collected."""
        if reason != self._error:
            extra = {"rule": self.name, "reason": reason}
            logger.warning("a rule cannot be collected", extra=extra)
        self._error = reason

    def state(self) -> Sending:
        """Return the state of sending."""
        state = self.outlet.state(self._rule.name, self._series, ())
        return state._replace(error=self._error or state.error)

    def _push(self, groups: Mapping[Group, tuple[bytes, int]], series: int, stamp: int) -> None:
        self._error, self.done_ms, self._series = "", stamp, series
        self.outlet.push(groups, stamp)


def _push_lines(named: Iterable[Series], job_name: str) -> Iterator[tuple[PushLine, bytes]]:
    """Yield the lines of series and their values.

    Raises:
        RuleError: they are too large.
    """
    room = MAX_MOMENT_BYTES
    for labels, value in named:
        line = push_line(labels, {}, job_name)
        if line is not None:
            room -= len(line.head)
            check_room(room)
            yield line, repr(value).encode()


def read_vector(body: bytes) -> list[Series]:
    """Parse the response to an instant query; histograms are omitted: they cannot be sent yet.

    Raises:
        Refusal: it is not a response of Prometheus' API.
    """
    return list(_series_of(read_data(body)["data"]))


def _series_of(data: Any) -> Iterator[Series]:
    result = data.get("result") if isinstance(data, dict) else None
    for item in result if isinstance(result, list) else ():
        try:
            labels, (_, value) = item["metric"], item["value"]
            yield {str(name): str(text) for name, text in labels.items()}, float(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue

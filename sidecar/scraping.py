"""One scrape of a workload: its targets at once, each under its own deadline, one answer.

A client never gets a 200 that hides a loss: a single target's failure is the answer's status; of
several, `livery_target_up` says which failed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sidecar.errors import (
    ExpositionError,
    LimitError,
    LiveryError,
    UpstreamError,
    UpstreamTimeoutError,
)
from sidecar.model.conversion import openmetrics_to_text
from sidecar.model.exposition import MAX_COMMENT_LINES, Series
from sidecar.model.families import MergeError, Plan, arrange
from sidecar.model.formats import (
    Format,
    Negotiated,
    format_of_content_type,
    target_accept,
)
from sidecar.model.policy import Policy
from sidecar.model.rewriting import Marking, Rewriting
from sidecar.model.series import OWN_PREFIX, Limits, Reading, SeriesMemory
from sidecar.model.targets import Target
from sidecar.upstream import Fetched, TargetClient, scrape_budget

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 24 << 20
MAX_MEMORY_BYTES = 16 << 20
"""What the memories of all targets may hold together."""
MAX_RULE_TRIALS = 2_000_000
"""Rules and patterns that the new series of one target may be tried against: some seconds."""
MIN_NEW_SERIES = 1_000
INLINE_BYTES = 256 << 10
"""A larger body is read in a thread, so that others are answered meanwhile."""
MAX_VARIANTS = 2
"""Kinds of clients (formats and escapings) that are remembered: an old and a new Prometheus."""


class TargetResult(NamedTuple):
    """How one target's part of a scrape went."""

    target: Target
    error: LiveryError | None
    duration_seconds: float
    samples: int


class Scrape(NamedTuple):
    """One answer, or why there is none."""

    status: int
    body: bytes
    """The exposition; with a status other than 200 one sentence."""
    fmt: Format
    results: tuple[TargetResult, ...]
    samples_out: int = 0


_READ = UpstreamError("read already")


@dataclass
class _Variant:
    """What is remembered for one kind of client."""

    memories: dict[tuple[int, Format], SeriesMemory]
    entries: tuple[object, ...] = ()
    plan: Plan | None = None


class _Room:
    """What all targets of one scrape may expose together: each alone may be within its bounds."""

    def __init__(self) -> None:
        self._samples = Limits().samples
        self._bytes = MAX_ANSWER_BYTES

    def take(self, reading: Reading | LiveryError) -> Reading | LiveryError:
        """Let a target in, or say why there is no room for it."""
        if isinstance(reading, LiveryError):
            return reading
        lines = [entry.line for entry in reading.entries if entry.line is not None]
        size = sum(len(line.text) for line in lines)
        if reading.samples > self._samples:
            limit = f"{Limits().samples} samples"
            return LimitError(f"more than {limit} from all targets in one scrape")
        if size > self._bytes:
            limit = f"{MAX_ANSWER_BYTES >> 20} MiB of series"
            return LimitError(f"more than {limit} from all targets in one scrape")
        # Where only one target is well nothing is merged, yet the proxy speaks beside it.
        forged = next((line.name for line in lines if line.name.startswith(OWN_PREFIX)), None)
        if forged is not None:
            return ExpositionError(0, f"{forged[:80].decode()!r} is a name of the proxy's own")
        self._samples -= reading.samples
        self._bytes -= size
        return reading


class Scraper:
    """Scrapes one workload under the present policy."""

    def __init__(self, targets: Sequence[Target], marking: Marking, pod_ip: str = "") -> None:
        self._clients = [TargetClient(target, pod_ip) for target in targets]
        self._marking = marking
        self._policy = Policy()
        self._variants: dict[Negotiated, _Variant] = {}

    @property
    def targets(self) -> list[Target]:
        """What is scraped, in its order."""
        return [client.target for client in self._clients]

    @property
    def remembered_bytes(self) -> int:
        """What the memories hold."""
        memories = (memory for item in self._variants.values() for memory in item.memories.values())
        return sum(memory.bytes for memory in memories)

    def use(self, policy: Policy) -> None:
        """Rewrite under another policy from the next scrape on, with empty memory."""
        self._policy = policy
        self._variants.clear()

    def close(self) -> None:
        """Drop the connections."""
        for client in self._clients:
            client.close()

    async def scrape(self, wanted: Negotiated, query: str, timeout_seconds: float) -> Scrape:
        """Scrape all targets and merge what they say.

        Args:
            wanted: the client's format; OpenMetrics is asked of a single target only.
            query: the client's query string, passed to a single target.
            timeout_seconds: each target's deadline.
        """
        is_single = len(self._clients) == 1
        if not is_single:
            wanted, query = wanted._replace(fmt=Format.TEXT), ""
        accept = target_accept(wanted)
        budget = scrape_budget()
        started = time.monotonic()
        fetches = [
            _timed(
                client.fetch(
                    accept=accept, query=query, timeout_seconds=timeout_seconds, budget=budget
                )
            )
            for client in self._clients
        ]
        # One target needs no task of its own: a scrape is half as many turns of the loop.
        fetched = [await fetches[0]] if is_single else await asyncio.gather(*fetches)
        outcomes = [item[0] for item in fetched]
        durations = [item[1] for item in fetched]
        del fetched
        fmt = _answer_format(wanted, outcomes)
        variant = self._variant(wanted._replace(fmt=fmt))
        readings: list[Reading | LiveryError] = []
        room = _Room()
        for index, outcome in enumerate(outcomes):
            arguments = (index, outcome, variant, wanted._replace(fmt=fmt))
            if self._is_quick(outcome):
                reading = self._read(*arguments)
            else:
                reading = await asyncio.to_thread(self._read, *arguments)
            del arguments
            readings.append(reading if is_single else room.take(reading))
            del reading
            # Its text stands in the reading now: a second copy could be the one too many.
            outcomes[index] = outcome = _READ
            if index + 1 < len(outcomes):
                await asyncio.sleep(0)  # others have their turn between two large bodies
        logger.debug("scraped", extra={"seconds": round(time.monotonic() - started, 4)})
        return self._answer(readings, durations, variant, wanted._replace(fmt=fmt))

    def _is_quick(self, outcome: Fetched | LiveryError) -> bool:
        if isinstance(outcome, LiveryError):
            return True
        access = self._policy.access or () if self._marking.filters else ()
        rules = len(self._policy.relabelings) + sum(len(rule.patterns) for rule in access)
        return len(outcome.body) * (1 + rules // 10) <= INLINE_BYTES

    def _variant(self, wanted: Negotiated) -> _Variant:
        variant = self._variants.get(wanted)
        if variant is None:
            if len(self._variants) >= MAX_VARIANTS:
                self._variants.clear()
            variant = self._variants[wanted] = _Variant({})
        return variant

    def _read(
        self,
        index: int,
        outcome: Fetched | LiveryError,
        variant: _Variant,
        wanted: Negotiated,
    ) -> Reading | LiveryError:
        if isinstance(outcome, LiveryError):
            return outcome
        try:
            fmt = format_of_content_type(outcome.content_type)
            if fmt is None:
                raise UpstreamError(
                    f"answered {outcome.content_type[:80]!r}, which is no text exposition"
                )
            body = outcome.body
            if fmt is Format.OPENMETRICS and wanted.fmt is Format.TEXT:
                _check_lines(body)
                body = openmetrics_to_text(body)
            return self._memory(index, variant, wanted).read(body)
        except LiveryError as error:
            return error

    def _memory(self, index: int, variant: _Variant, wanted: Negotiated) -> SeriesMemory:
        memory = variant.memories.get((index, wanted.fmt))
        if memory is None:
            rewriting = self._rewriting(index, wanted)
            limits = Limits(
                memory_bytes=MAX_MEMORY_BYTES // (len(self._clients) * MAX_VARIANTS),
                new_series=max(MIN_NEW_SERIES, MAX_RULE_TRIALS // (1 + rewriting.rules)),
            )
            memory = variant.memories[index, wanted.fmt] = SeriesMemory(
                rewriting, wanted.fmt, limits
            )
        return memory

    def _rewriting(self, index: int, wanted: Negotiated) -> Rewriting:
        target = self._clients[index].target
        is_single = len(self._clients) == 1
        marking = replace(
            self._marking,
            identity=self._marking.identity._replace(container=target.name),
            target_label="" if is_single else self._marking.target_label,
            target=_target_name(target),
        )
        return Rewriting(self._policy, marking, wanted.escaping)

    def _answer(
        self,
        readings: list[Reading | LiveryError],
        durations: list[float],
        variant: _Variant,
        wanted: Negotiated,
    ) -> Scrape:
        while True:
            try:
                return self._merge(readings, durations, variant, wanted)
            except MergeError as error:
                good = [i for i, reading in enumerate(readings) if isinstance(reading, Reading)]
                readings[good[error.index]] = error

    def _merge(
        self,
        readings: list[Reading | LiveryError],
        durations: list[float],
        variant: _Variant,
        wanted: Negotiated,
    ) -> Scrape:
        results = tuple(
            TargetResult(
                client.target,
                reading if isinstance(reading, LiveryError) else None,
                duration,
                reading.samples if isinstance(reading, Reading) else 0,
            )
            for client, reading, duration in zip(self._clients, readings, durations, strict=True)
        )
        good = [reading for reading in readings if isinstance(reading, Reading)]
        if not good:
            return _failure(results, wanted.fmt)
        own = b"" if len(readings) == 1 else self._own_families(results, wanted)
        entries = tuple(reading.entries for reading in good)
        plan = variant.plan
        if plan is None or not _are_same(entries, variant.entries):
            variant.plan, variant.entries = None, ()  # two plans at once could be one too many
            plan = arrange(good, wanted.fmt)
            # What was too large to remember must not be kept alive by its plan.
            if all(memory.bytes for memory in variant.memories.values()):
                variant.plan, variant.entries = plan, entries
        tails = good[0].tails if len(good) == 1 else [t for reading in good for t in reading.tails]
        size = plan.size + sum(reading.tail_bytes for reading in good) + len(own)
        if size > MAX_ANSWER_BYTES:
            return _too_large(results, wanted.fmt, size)
        return Scrape(200, plan.render(tails, own), wanted.fmt, results, plan.samples)

    def _own_families(self, results: Sequence[TargetResult], wanted: Negotiated) -> bytes:
        rows = (
            ("up", "Whether the target's last scrape succeeded.", lambda r: int(r.error is None)),
            (
                "scrape_duration_seconds",
                "How long the target's scrape took.",
                lambda r: round(r.duration_seconds, 6),
            ),
            ("samples", "Samples that the target exposed.", lambda r: r.samples),
        )
        lines = []
        policy = replace(self._policy, relabelings=(), access=None)
        for suffix, text, value in rows:
            name = f"livery_target_{suffix}".encode()
            lines.append(b"# HELP %b %b\n# TYPE %b gauge\n" % (name, text.encode(), name))
            for result in results:
                marking = Marking(
                    target_label=self._marking.target_label, target=_target_name(result.target)
                )
                line = Rewriting(policy, marking, wanted.escaping).series(Series(name, (), name))
                if line is not None:
                    lines.append(b"%b %b\n" % (line.text, str(value(result)).encode()))
        return b"".join(lines)


def _check_lines(body: bytes) -> None:
    # Before it is converted: each line takes many times its length while it is.
    limit = Limits().samples + MAX_COMMENT_LINES
    if body.count(b"\n") > limit:
        raise LimitError(f"more than {limit} lines of OpenMetrics")


def _target_name(target: Target) -> str:
    return target.name or str(target.port)


def _answer_format(wanted: Negotiated, outcomes: Sequence[Fetched | LiveryError]) -> Format:
    if wanted.fmt is Format.OPENMETRICS and isinstance(outcomes[0], Fetched):
        return format_of_content_type(outcomes[0].content_type) or wanted.fmt
    return wanted.fmt


def _are_same(entries: Sequence[object], others: Sequence[object]) -> bool:
    return len(entries) == len(others) and all(map(lambda a, b: a is b, entries, others))


async def _timed(fetch: Awaitable[Fetched]) -> tuple[Fetched | LiveryError, float]:
    started = time.monotonic()
    try:
        return await fetch, time.monotonic() - started
    except LiveryError as error:
        return error, time.monotonic() - started


def _failure(results: tuple[TargetResult, ...], fmt: Format) -> Scrape:
    errors = [result.error for result in results]
    is_late = all(isinstance(error, UpstreamTimeoutError) for error in errors)
    sentence = "; ".join(f"{result.target.url}: {result.error}" for result in results)
    return Scrape(504 if is_late else 502, sentence.encode(), fmt, results)


def _too_large(results: tuple[TargetResult, ...], fmt: Format, size: int) -> Scrape:
    error = LimitError(
        f"the answer would be {size} bytes with its labels; {MAX_ANSWER_BYTES} are allowed"
    )
    return Scrape(502, str(error).encode(), fmt, results)

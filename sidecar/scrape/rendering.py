"""The second step of a scrape: renders what was collected as one response.

A status of 200 never hides a failure: with one target, its failure is the response's status; with
several, `livery_target_up` shows which failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sidecar.errors import LateError, LimitError, LiveryError, UpstreamTimeoutError
from sidecar.http.negotiation import compress
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.lines import Reading
from sidecar.model.exposition.merge import MergeError
from sidecar.model.targets import Target
from sidecar.scrape.view import Outcome, ScrapeView

TARGET_METRICS = {
    "up": "Whether the target's last scrape succeeded.",
    "scrape_duration_seconds": "How long the target's scrape took.",
    "samples": "Samples that the target exposed.",
}
"""Help texts of the metrics added for several targets, by name without `livery_target_`."""


class Collected(NamedTuple):
    """Result of one fan-out: an outcome for each target, in their order."""

    view: ScrapeView
    targets: Sequence[Target]
    outcomes: list[Outcome]
    durations_seconds: Sequence[float]
    silent: frozenset[Target] = frozenset()
    """Guessed targets that never answered."""


class TargetResult(NamedTuple):
    """Result of scraping one target."""

    target: Target
    error: LiveryError | None
    duration_seconds: float
    samples: int
    is_silent: bool = False
    """Whether the target was guessed and never answered, so it may serve no metrics."""


@dataclass(frozen=True)
class Scrape:
    """One response, or the reason for its failure."""

    status: int
    body: bytes
    """The exposition; with a status other than 200, the reason."""
    fmt: Format
    results: tuple[TargetResult, ...]
    samples_out: int = 0
    left_out: int = 0
    """Series omitted because the client's escaping makes them equal to another."""

    @cached_property
    def gzipped(self) -> bytes:
        """The body, compressed once for all clients that accept gzip."""
        return compress(self.body)


def render(collected: Collected, limit_bytes: int) -> Scrape:
    """Merge and render what was collected.

    Args:
        collected: the outcomes; a successful response empties their list.
        limit_bytes: maximum size of the response.
    """
    view, targets, outcomes, durations, silent = collected
    while True:
        results = tuple(
            _result(target, outcome, duration, is_silent=target in silent)
            for target, outcome, duration in zip(targets, outcomes, durations, strict=True)
        )
        if all(isinstance(outcome, LiveryError) for outcome in outcomes):
            return _failure(results, view.wanted.fmt)
        try:
            return _write(view, outcomes, results, limit_bytes)
        except MergeError as error:
            good = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Reading)]
            outcomes[good[error.index]] = error


def sum_up(collected: Collected) -> Scrape:
    """Return the targets' results without rendering a response."""
    _, targets, outcomes, durations, silent = collected
    results = tuple(
        _result(target, outcome, duration, is_silent=target in silent)
        for target, outcome, duration in zip(targets, outcomes, durations, strict=True)
    )
    return Scrape(204, b"", collected.view.wanted.fmt, results)


def _result(
    target: Target, outcome: Outcome, duration_seconds: float, *, is_silent: bool
) -> TargetResult:
    if isinstance(outcome, LiveryError):
        return TargetResult(target, outcome, duration_seconds, 0, is_silent)
    return TargetResult(target, None, duration_seconds, outcome.samples, is_silent)


def _write(
    view: ScrapeView,
    outcomes: list[Outcome],
    results: tuple[TargetResult, ...],
    limit_bytes: int,
) -> Scrape:
    readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
    fmt = view.wanted.fmt
    own = b""
    if not len(results) == len(readings) == 1:
        failed = [(result.target, result.error) for result in results if result.error is not None]
        own = view.render_errors(failed) + view.render_own(_own_families(results))
    plan = view.plan(readings)
    size = plan.size + sum(reading.tail_bytes for reading in readings) + len(own)
    if size > limit_bytes:
        error = LimitError(
            f"the response with labels would be {size} bytes; at most {limit_bytes} are allowed"
        )
        return Scrape(502, str(error).encode(), fmt, results)
    if len(readings) == 1:
        tails = readings[0].tails
    else:
        tails = [tail for reading in readings for tail in reading.tails]
    # The plan holds the text, so the readings' many small objects are freed before rendering.
    readings.clear()
    outcomes.clear()
    return Scrape(200, plan.render(tails, own), fmt, results, plan.samples, plan.left_out)


def _own_families(
    results: Sequence[TargetResult],
) -> list[tuple[str, str, list[tuple[Target, float]]]]:
    told = [result for result in results if not result.is_silent]
    values: dict[str, list[float]] = {
        "up": [int(result.error is None) for result in told],
        "scrape_duration_seconds": [round(result.duration_seconds, 6) for result in told],
        "samples": [result.samples for result in told],
    }
    targets = [result.target for result in told]
    return [
        (suffix, text, list(zip(targets, values[suffix], strict=True)))
        for suffix, text in TARGET_METRICS.items()
    ]


def _failure(results: tuple[TargetResult, ...], fmt: Format) -> Scrape:
    is_late = all(isinstance(result.error, UpstreamTimeoutError | LateError) for result in results)
    sentence = "; ".join(f"{result.target.url}: {result.error}" for result in results)
    return Scrape(504 if is_late else 502, sentence.encode(), fmt, results)

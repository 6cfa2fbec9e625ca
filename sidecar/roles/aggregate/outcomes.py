"""Result of each target's last scrape, for metrics, reports, logs and `/targets`."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sidecar.control.reports import TargetState
from sidecar.errors import (
    ExpositionError,
    LateError,
    LimitError,
    LiveryError,
    UpstreamTimeoutError,
)
from sidecar.process.metrics import Telemetry
from sidecar.roles.aggregate.pods import Selection
from sidecar.scrape.pods.fan_out import Outcome
from sidecar.scrape.pods.targets import PodTarget

logger = logging.getLogger(__name__)

MAX_LOGGED = 20
"""Failed targets that one scrape logs individually; the rest are counted."""


class _Last(NamedTuple):
    """Result of a target's last scrape, without its samples."""

    target: PodTarget
    error: LiveryError | None
    duration_seconds: float
    samples: int


class Outcomes:
    """The last outcome of each target.

    Args:
        telemetry: counts failures.
        on_change: called when a target is new or its error changed.
    """

    def __init__(self, telemetry: Telemetry, on_change: Callable[[], None]) -> None:
        self._telemetry = telemetry
        self._on_change = on_change
        self._last: dict[object, _Last] = {}
        self._present: frozenset[object] = frozenset()
        """Keys of the current targets; a scrape may have included others."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Record the outcomes of a scrape."""
        changed: list[_Last] = []
        failures: Counter[str] = Counter()
        outcomes = [item for item in outcomes if item.target.key in self._present]
        for outcome in outcomes:
            target, error = outcome.target, outcome.error
            before = self._last.get(target.key)
            last = _Last(target, error, outcome.duration_seconds, outcome.samples)
            self._last[target.key] = last
            if error is not None:
                failures[kind_of(error)] += 1
            if str((before or last).error) != str(error) or before is None:
                changed.append(last)
        for kind, count in failures.items():
            self._telemetry.add("livery_aggregate_target_failures_total", count, kind=kind)
        failed = sum(failures.values())
        self._telemetry.set("livery_aggregate_targets", len(outcomes) - failed, state="up")
        self._telemetry.set("livery_aggregate_targets", failed, state="down")
        if changed:
            self._log([item for item in changed if item.error is not None])
            self._on_change()

    def keep_only(self, targets: Collection[PodTarget]) -> None:
        """Forget targets that are gone."""
        self._present = frozenset(target.key for target in targets)
        self._last = {key: item for key, item in self._last.items() if key in self._present}

    def states(self) -> list[TargetState]:
        """Return the targets' states, failed ones first, as these matter most."""
        found = [
            TargetState(item.target.name, str(item.error or ""), item.samples)
            for item in self._last.values()
        ]
        return sorted(found, key=lambda state: not state.error)

    def summary(self) -> str:
        """Return a sentence on how many targets are down; empty if none is."""
        down = [item for item in self._last.values() if item.error is not None]
        if not down:
            return ""
        first = down[0].target.name
        return f"{len(down)} of {len(self._last)} targets are down, including {first}"

    def describe(self, selection: Selection) -> dict[str, object]:
        """Return the pods, warnings and targets that `/targets` shows."""
        return {
            "pods": {
                "running": selection.running,
                "notAnnotated": selection.silent,
                "notRunning": selection.waiting,
            },
            "warnings": [
                {"namespace": item.namespace, "pod": item.pod, "reason": item.reason}
                for item in selection.troubles
            ],
            "targets": [self._describe(target) for target in selection.targets],
        }

    def _describe(self, target: PodTarget) -> dict[str, object]:
        found: dict[str, object] = {
            "namespace": target.namespace,
            "pod": target.pod,
            "url": target.target.url,
            "hasProxy": target.has_proxy,
        }
        last = self._last.get(target.key)
        if last is not None:
            found |= {
                "up": last.error is None,
                "error": str(last.error or ""),
                "durationSeconds": round(last.duration_seconds, 6),
                "samples": last.samples,
            }
        return found

    def _log(self, failed: Sequence[_Last]) -> None:
        for item in failed[:MAX_LOGGED]:
            extra = {"target": item.target.name, "reason": str(item.error)}
            logger.warning("a target failed", extra=extra)
        if len(failed) > MAX_LOGGED:
            logger.warning("more targets failed", extra={"count": len(failed) - MAX_LOGGED})


def kind_of(error: LiveryError) -> str:
    """Return a failure's kind, a label value of a metric."""
    if isinstance(error, UpstreamTimeoutError | LateError):
        return "timeout"
    if isinstance(error, LimitError):
        return "limit"
    return "exposition" if isinstance(error, ExpositionError) else "connection"

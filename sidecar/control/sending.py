"""State of forwarding for each rule, for metrics and for reports to the control service."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.process.metrics import Family, Telemetry

MAX_REPORTED = 2_000
"""Rules in one report; a pod has at most 100, a collector has those of many namespaces."""
POD_REPORT_BYTES, COLLECTOR_REPORT_BYTES = 32 << 10, 768 << 10
"""Size of a report's part about sending: the control service refuses a report that is too large."""
MAX_UNMATCHED = 20
"""Patterns of one rule that are reported as matching nothing."""
_TEXT_CHARACTERS = 200


class Loss(Described):
    """Why samples were lost; a label value of the metric."""

    QUEUE_FULL = (
        "queue_full",
        "the receiver was unavailable for longer than the queue can hold samples",
    )
    SUPERSEDED = "superseded", "newer values replaced them before they could be pushed"
    REFUSED = "refused", "the receiver rejected them"
    OUT_OF_ORDER = "out_of_order", "the receiver has newer ones, or others with the same timestamp"
    ENDED = "ended", "the rule or the proxy ended before they could be sent"

    @property
    def is_failure(self) -> bool:
        """Whether the receiver rejected the samples."""
        return self in (Loss.REFUSED, Loss.OUT_OF_ORDER)


@dataclass
class Progress:
    """State of sending to one receiver."""

    sent: int = 0
    """Samples that the receiver accepted."""
    lost: Counter[Loss] = field(default_factory=Counter)
    """Samples that were lost, by reason."""
    last_sent_at: float = 0.0
    """When it last accepted samples, as Unix time; 0 for never."""
    error: str = ""
    """Why the last request failed; empty if it did not."""

    def add(self, other: "Progress") -> None:
        """Add the counts of a receiver that is gone."""
        self.sent += other.sent
        self.lost.update(other.lost)
        self.last_sent_at = max(self.last_sent_at, other.last_sent_at)


class Sending(NamedTuple):
    """State of one rule's sending, over all of its receivers."""

    namespace: str
    rule: str
    sent: int
    lost: Counter[Loss]
    waiting: int
    """Samples waiting to be sent."""
    lag_seconds: float
    """Age of the oldest waiting sample."""
    last_sent_at: float
    """When a receiver last accepted samples, as Unix time; 0 for never."""
    error: str
    series: int
    """Series sent at each interval."""
    unmatched: tuple[str, ...]
    """Patterns that match no series."""

    @property
    def failed(self) -> int:
        """Samples that a receiver rejected."""
        return sum(count for loss, count in self.lost.items() if loss.is_failure)

    @property
    def dropped(self) -> int:
        """Samples that were dropped before a receiver accepted or rejected them."""
        return sum(count for loss, count in self.lost.items() if not loss.is_failure)


_LABELS = ("namespace", "rule")


def sending_families(prefix: str) -> tuple[Family, ...]:
    """Describe the metrics of a role that sends; their names begin with `prefix`."""
    return tuple(
        Family(kind, f"{prefix}_forward_{name}", text, labels)
        for kind, name, text, labels in (
            ("counter", "samples_sent_total", "Samples that receivers accepted.", _LABELS),
            ("counter", "samples_lost_total", "Samples that were lost, by reason.",
             (*_LABELS, "reason")),
            ("gauge", "samples_waiting", "Samples waiting to be sent.", _LABELS),
            ("gauge", "lag_seconds", "Age of the oldest waiting sample.", _LABELS),
            ("gauge", "failing", "Whether the last request to a receiver failed.", _LABELS),
            ("gauge", "series", "Series sent at each interval.", _LABELS),
        )
    )  # fmt: skip


def observe_sending(telemetry: Telemetry, prefix: str, states: Iterable[Sending]) -> None:
    """Set the metrics of `sending_families`; those of deleted rules are removed."""
    for family in sending_families(prefix):
        telemetry.clear(family.name)
    for state in states:
        labels = {"namespace": state.namespace, "rule": state.rule}
        for name, value in (
            ("samples_sent_total", state.sent),
            ("samples_waiting", state.waiting),
            ("lag_seconds", round(state.lag_seconds, 3)),
            ("failing", int(bool(state.error))),
            ("series", state.series),
        ):
            telemetry.set(f"{prefix}_forward_{name}", value, **labels)
        for reason in Loss:
            name, lost = f"{prefix}_forward_samples_lost_total", state.lost[reason]
            telemetry.set(name, lost, **labels, reason=str(reason))


def report_sending(states: Sequence[Sending], limit_bytes: int) -> list[dict[str, object]]:
    """Return the part of a report about sending; if too large, the least important is dropped.

    Args:
        states: the state of each rule.
        limit_bytes: maximum size of the part, as JSON.
    """
    found = _write(states)
    for name in ("unmatched", "error"):
        if _size(found) > limit_bytes:
            found = [{**item, name: type(item[name])()} for item in found]
    while _size(found) > limit_bytes:
        found = found[: len(found) * 9 // 10]
    return found


def _size(found: Sequence[Mapping[str, object]]) -> int:
    return len(json.dumps(found))


def _write(states: Sequence[Sending]) -> list[dict[str, object]]:
    return [
        {
            "namespace": state.namespace,
            "rule": state.rule,
            "sent": state.sent,
            "failed": state.failed,
            "dropped": state.dropped,
            "waiting": state.waiting,
            "lagSeconds": round(state.lag_seconds, 3),
            "lastSentAt": round(state.last_sent_at, 3),
            "error": state.error[:_TEXT_CHARACTERS],
            "series": state.series,
            "unmatched": [text[:_TEXT_CHARACTERS] for text in state.unmatched[:MAX_UNMATCHED]],
        }
        for state in states[:MAX_REPORTED]
    ]

"""Forwarding state of an object, summed over all proxies or collectors that send it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

ObjectName = tuple[str, str]
"""Namespace and name of an object."""


class SendingReport(NamedTuple):
    """One proxy's report about its sending for one object."""

    namespace: str
    rule: str
    sent: int
    failed: int
    dropped: int
    waiting: int
    lag_seconds: float
    last_sent_at: float
    """Unix time; 0 for never."""
    error: str
    series: int
    unmatched: tuple[str, ...]
    """Patterns that match none of its series."""


@dataclass(frozen=True)
class SendingFacts:
    """The sum over all senders; each counts from its start."""

    senders: int = 0
    series: int = 0
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0
    lag_seconds: float = 0.0
    """Lag of the sender that is furthest behind."""
    last_sent_at: float = 0.0
    """When a receiver last accepted samples from any sender; Unix time."""
    error: str = ""
    unmatched: tuple[str, ...] = ()
    """Patterns that match no series of any sender."""


NOTHING_SENT = SendingFacts()


def gather_sending(reports: Iterable[SendingReport]) -> Mapping[ObjectName, SendingFacts]:
    """Sum reports by object."""
    by_object: dict[ObjectName, list[SendingReport]] = {}
    for report in reports:
        by_object.setdefault((report.namespace, report.rule), []).append(report)
    return {name: _sum(found) for name, found in by_object.items()}


def _sum(reports: list[SendingReport]) -> SendingFacts:
    first, *others = (frozenset(report.unmatched) for report in reports)
    nowhere = first.intersection(*others)
    return SendingFacts(
        senders=len(reports),
        series=sum(report.series for report in reports),
        sent=sum(report.sent for report in reports),
        failed=sum(report.failed for report in reports),
        dropped=sum(report.dropped for report in reports),
        waiting=sum(report.waiting for report in reports),
        lag_seconds=max(report.lag_seconds for report in reports),
        last_sent_at=max(report.last_sent_at for report in reports),
        error=next((report.error for report in reports if report.error), ""),
        unmatched=tuple(text for text in reports[0].unmatched if text in nowhere),
    )

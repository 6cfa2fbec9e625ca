"""The proxies' reports about themselves, kept within limits: a pod could send anything."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

from injector.model.access.sending import SendingReport
from injector.model.roles import DEFAULT_ROLE
from sidecar.model.targets import MAX_TARGETS

MAX_REPORTS = 20_000
"""Twice the number of proxies that one replica is designed for."""
MAX_BYTES = 96 << 20
"""Size limit of all reports together."""
_REPORT_BYTES = 1_000
_MAX_TEXT = 200
_MAX_FAULTS = 8
_MAX_AGE_SECONDS = 10 * 365 * 86400.0
_MAX_UNIX_TIME = 4e9
MAX_REPORTED = 2_000
"""Objects whose sending one report may cover: a collector reports on many namespaces."""
MAX_UNMATCHED = 20
KEEP_SECONDS = 3600.0
"""How long the last report of a proxy without a stream here is kept: its pod may be gone."""

Pod = tuple[str, str]
"""Namespace and name."""


class TargetReport(NamedTuple):
    """One target of a proxy, as of its last scrape."""

    url: str
    is_up: bool
    error: str
    samples: int
    is_guess: bool = False
    """Whether it is a guessed target that has never answered."""


class Report(NamedTuple):
    """One proxy's report about itself."""

    received_at: float
    """Unix time."""
    proxy_version: str
    policy_version: str
    policy_age_seconds: float
    """Age at the time the report was sent."""
    policy_error: str
    faults: tuple[str, ...]
    targets: tuple[TargetReport, ...]
    samples: int
    """Samples exposed by the last scrape, including the proxy's own."""
    resident_bytes: int
    role: str = DEFAULT_ROLE
    policy_ignored: tuple[str, ...] = ()
    """Fields of the policy that the proxy is too old to support."""
    notes: tuple[str, ...] = ()
    """Recent events: for a gateway, what it refused."""
    sending: tuple[SendingReport, ...] = ()
    """State of its forwarding."""

    @property
    def size_bytes(self) -> int:
        """Approximate size in memory."""
        texts = [self.policy_error, *self.faults, *self.policy_ignored, *self.notes]
        for target in self.targets:
            texts += (target.url, target.error)
        for one in self.sending:
            texts += (one.namespace, one.rule, one.error, *one.unmatched)
        return _REPORT_BYTES * (1 + len(self.sending)) + sum(map(sys.getsizeof, texts))


class Reports:
    """The last report of each proxy; beyond the limit, the least recently updated is dropped."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._reports: dict[Pod, Report] = {}
        self._bytes: Counter[str] = Counter()
        """Approximate size of each namespace's reports."""

    def put(self, pod: Pod, fields: Mapping[str, Any], *, is_collector: bool = False) -> Report:
        """Store a report, reduced to known fields within limits.

        Args:
            pod: the reporting pod.
            fields: the parsed JSON.
            is_collector: whether it may report on other namespaces' objects.
        """
        self._forget(pod)
        while len(self._reports) >= MAX_REPORTS:
            self._forget(next(iter(self._reports)))
        report = read_report(fields, self._clock())
        if not is_collector:
            own = (item for item in report.sending if item.namespace == pod[0])
            report = report._replace(sending=tuple(own))
        self._reports[pod] = report
        self._bytes[pod[0]] += report.size_bytes
        while self._bytes.total() > MAX_BYTES:
            # Drop reports of the namespace that takes most memory.
            heaviest = max(self._bytes, key=self._bytes.__getitem__)
            self._forget(next(item for item in self._reports if item[0] == heaviest))
        return report

    def get(self, pod: Pod) -> Report | None:
        """Return a pod's last report."""
        return self._reports.get(pod)

    def forget_silent(self, connected: Container[Pod]) -> None:
        """Drop old reports of proxies that have no stream here."""
        horizon = self._clock() - KEEP_SECONDS
        for pod, report in list(self._reports.items()):
            if report.received_at >= horizon:
                break  # reports are in order of arrival
            if pod not in connected:
                self._forget(pod)

    def _forget(self, pod: Pod) -> None:
        report = self._reports.pop(pod, None)
        if report is not None:
            self._bytes[pod[0]] -= report.size_bytes

    def __iter__(self) -> Iterator[Pod]:
        """Yield the pods that reported, least recently updated first."""
        return iter(self._reports)


def read_report(fields: Mapping[str, Any], received_at: float) -> Report:
    """Parse a report, reduced to known fields within limits.

    Args:
        fields: the parsed JSON.
        received_at: Unix time.
    """
    return Report(
        received_at=received_at,
        proxy_version=_text(fields, "proxyVersion"),
        policy_version=_text(fields, "policyVersion"),
        policy_age_seconds=min(max(0.0, _number(fields, "policyAgeSeconds")), _MAX_AGE_SECONDS),
        policy_error=_text(fields, "policyError"),
        faults=tuple(map(_clean, _items(fields, "faults")[:_MAX_FAULTS])),
        targets=tuple(
            TargetReport(
                _text(item, "url"),
                item.get("up") is True,
                _text(item, "error"),
                int(_number(item, "samples")),
                item.get("guess") is True,
            )
            for item in _items(fields, "targets")[:MAX_TARGETS]
            if isinstance(item, dict)
        ),
        samples=int(_number(fields, "samples")),
        resident_bytes=int(_number(fields, "residentBytes")),
        role=_text(fields, "role") or DEFAULT_ROLE,
        policy_ignored=tuple(map(_clean, _items(fields, "policyIgnored")[:_MAX_FAULTS])),
        notes=tuple(map(_clean, _items(fields, "notes")[:_MAX_FAULTS])),
        sending=tuple(
            _read_sending(item)
            for item in _items(fields, "sending")[:MAX_REPORTED]
            if isinstance(item, dict)
        ),
    )


def _read_sending(item: Mapping[str, Any]) -> SendingReport:
    def count(name: str) -> int:
        return max(0, int(_number(item, name)))

    return SendingReport(
        namespace=_text(item, "namespace"),
        rule=_text(item, "rule"),
        sent=count("sent"),
        failed=count("failed"),
        dropped=count("dropped"),
        waiting=count("waiting"),
        lag_seconds=min(max(0.0, _number(item, "lagSeconds")), _MAX_AGE_SECONDS),
        last_sent_at=min(max(0.0, _number(item, "lastSentAt")), _MAX_UNIX_TIME),
        error=_text(item, "error"),
        series=count("series"),
        unmatched=tuple(map(_clean, _items(item, "unmatched")[:MAX_UNMATCHED])),
    )


def _write_sending(item: SendingReport) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "rule": item.rule,
        "sent": item.sent,
        "failed": item.failed,
        "dropped": item.dropped,
        "waiting": item.waiting,
        "lagSeconds": item.lag_seconds,
        "lastSentAt": item.last_sent_at,
        "error": item.error,
        "series": item.series,
        "unmatched": list(item.unmatched),
    }


def write_report(report: Report) -> dict[str, Any]:
    """Return a report in the proxies' format, for another replica."""
    return {
        "role": report.role,
        "proxyVersion": report.proxy_version,
        "policyVersion": report.policy_version,
        "policyAgeSeconds": report.policy_age_seconds,
        "policyError": report.policy_error,
        "policyIgnored": report.policy_ignored,
        "faults": report.faults,
        "notes": report.notes,
        "targets": [
            {
                "url": target.url,
                "up": target.is_up,
                "error": target.error,
                "samples": target.samples,
                "guess": target.is_guess,
            }
            for target in report.targets
        ],
        "sending": [_write_sending(item) for item in report.sending],
        "samples": report.samples,
        "residentBytes": report.resident_bytes,
    }


def _text(fields: Mapping[str, Any], name: str) -> str:
    return _clean(fields.get(name))


def _clean(value: object) -> str:
    # JSON may contain a lone surrogate, which cannot be encoded when it is sent on.
    text = value[:_MAX_TEXT] if isinstance(value, str) else ""
    return text.encode(errors="replace").decode()


def _items(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    # JSON may contain integers of any length, and Python's parser accepts NaN.
    return float(value) if -(2**53) < value < 2**53 and math.isfinite(value) else 0.0

"""What proxies report of themselves: kept in bounds, for a pod could send anything."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

MAX_REPORTS = 20_000
"""Twice the proxies that one replica is made for."""
_MAX_TEXT = 200
_MAX_FAULTS = 8
_MAX_TARGETS = 16

Pod = tuple[str, str]
"""Namespace and name."""


class TargetReport(NamedTuple):
    """One target of a proxy, as its last scrape found it."""

    url: str
    is_up: bool
    error: str
    samples: int


class Report(NamedTuple):
    """One proxy, by its own words."""

    received_at: float
    """Unix time."""
    role: str
    proxy_version: str
    policy_version: str
    policy_age_seconds: float
    """When it was sent."""
    policy_error: str
    faults: tuple[str, ...]
    targets: tuple[TargetReport, ...]
    samples: int
    """Exposed by the last scrape, the proxy's own included."""
    resident_bytes: int


class Reports:
    """The last report of each proxy; of too many the one not renewed for longest goes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._reports: dict[Pod, Report] = {}

    def put(self, pod: Pod, fields: Mapping[str, Any]) -> Report:
        """Keep of a report what is known and small enough."""
        self._reports.pop(pod, None)
        while len(self._reports) >= MAX_REPORTS:
            del self._reports[next(iter(self._reports))]
        report = self._reports[pod] = _read(fields, self._clock())
        return report

    def get(self, pod: Pod) -> Report | None:
        """Return a pod's last report."""
        return self._reports.get(pod)

    def __iter__(self) -> Iterator[Pod]:
        """Yield the pods that reported, the one not renewed for longest first."""
        return iter(self._reports)


def _read(fields: Mapping[str, Any], now: float) -> Report:
    return Report(
        received_at=now,
        role=_text(fields, "role"),
        proxy_version=_text(fields, "proxyVersion"),
        policy_version=_text(fields, "policyVersion"),
        policy_age_seconds=_number(fields, "policyAgeSeconds"),
        policy_error=_text(fields, "policyError"),
        faults=tuple(str(item)[:_MAX_TEXT] for item in _items(fields, "faults")[:_MAX_FAULTS]),
        targets=tuple(
            TargetReport(
                _text(item, "url"),
                item.get("up") is True,
                _text(item, "error"),
                int(_number(item, "samples")),
            )
            for item in _items(fields, "targets")[:_MAX_TARGETS]
            if isinstance(item, dict)
        ),
        samples=int(_number(fields, "samples")),
        resident_bytes=int(_number(fields, "residentBytes")),
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    return str(fields.get(name, ""))[:_MAX_TEXT]


def _items(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    # JSON may hold integers of any length, and Python's reader takes NaN.
    return float(value) if -(2**53) < value < 2**53 and math.isfinite(value) else 0.0

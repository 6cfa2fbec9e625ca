from typing import Any

import pytest

from injector.control import reports as module
from injector.control.reports import Report, Reports, TargetReport

GOOD: dict[str, Any] = {
    "role": "pod",
    "proxyVersion": "0.1.0",
    "policyVersion": "abc",
    "policyAgeSeconds": 1.5,
    "policyError": "",
    "faults": ["a port is busy"],
    "targets": [{"url": "http://:80/metrics", "up": True, "error": "", "samples": 3}],
    "samples": 4,
    "residentBytes": 30_000_000,
}


def test_a_report_is_kept_with_the_time_of_its_arrival() -> None:
    reports = Reports(clock=lambda: 7.0)
    reports.put(("shop", "web-0"), GOOD)

    assert reports.get(("shop", "web-0")) == Report(
        7.0, "0.1.0", "abc", 1.5, "", ("a port is busy",),
        (TargetReport("http://:80/metrics", is_up=True, error="", samples=3),), 4, 30_000_000,
    )  # fmt: skip


@pytest.mark.parametrize("value", [None, [], {}, "x", True, 1e400, float("nan"), 10**400, -1])
@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_odd_value_harms_nothing(name: str, value: object) -> None:
    report = Reports().put(("a", "b"), {**GOOD, name: value})

    assert len(repr(report)) < 1_000
    assert "None" not in repr(report)
    assert 0 <= report.policy_age_seconds < 1e9


def test_half_of_a_surrogate_pair_does_not_get_in() -> None:
    half = "\ud800"
    target = {"url": half, "error": half}
    fields = {"proxyVersion": half, "policyError": half, "faults": [half], "targets": [target]}

    repr(Reports().put(("a", "b"), fields)).encode()


def test_who_is_silent_and_has_no_stream_is_forgotten_in_time() -> None:
    now = [0.0]
    reports = Reports(clock=lambda: now[0])
    for name in ("gone", "connected"):
        reports.put(("shop", name), GOOD)
    now[0] = module.KEEP_SECONDS + 1
    reports.put(("shop", "new"), GOOD)
    reports.forget_silent({("shop", "connected")})

    assert list(reports) == [("shop", "connected"), ("shop", "new")]


def test_what_is_kept_is_bounded() -> None:
    target = {"url": "x" * 10_000, "odd": [1], "error": "y" * 10_000}
    sent = {"faults": ["z" * 10_000] * 100, "targets": [target, "t"] * 100, "more": [[]]}
    report = Reports().put(("a", "b"), sent)

    assert len(repr(report)) < 10_000
    assert (len(report.faults), len(report.targets)) == (8, 8)
    assert report.targets[0].url == "x" * 200


def test_of_too_many_reports_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REPORTS", 2)
    reports = Reports()
    for pod in ("1", "2", "1", "3"):
        reports.put(("a", pod), GOOD)

    assert list(reports) == [("a", "1"), ("a", "3")]


def test_a_namespace_with_large_reports_loses_its_own_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 40_000)
    reports = Reports()
    reports.put(("bank", "db-0"), GOOD)
    large = {**GOOD, "faults": ["\U0001f600" * 200] * 8}
    for number in range(50):
        reports.put(("shop", f"web-{number}"), large)

    assert reports.get(("bank", "db-0")) is not None
    assert reports.get(("shop", "web-49")) is not None
    kept = [report for report in map(reports.get, reports) if report is not None]
    assert sum(report.size_bytes for report in kept) <= 40_000

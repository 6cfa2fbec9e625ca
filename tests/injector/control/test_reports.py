from typing import Any

import pytest

from injector.control import reports as module
from injector.control.reports import (
    Report,
    Reports,
    TargetReport,
    read_report,
    write_report,
)
from injector.model.access.sending import SendingReport

GOOD: dict[str, Any] = {
    "role": "pod",
    "proxyVersion": "0.1.0",
    "policyVersion": "abc",
    "policyAgeSeconds": 1.5,
    "policyError": "",
    "faults": ["a port is busy"],
    "notes": ["403 for somebody"],
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
        notes=("403 for somebody",),
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


_SENT = {
    "namespace": "shop", "rule": "front", "sent": 80, "failed": 2, "dropped": 1, "waiting": 5,
    "lagSeconds": 1.5, "lastSentAt": 1_795_000_000.5, "error": "it is away", "series": 40,
    "unmatched": ["other"],
}  # fmt: skip


def test_a_report_says_how_sending_goes_and_another_replica_reads_the_same() -> None:
    reports = Reports()
    report = reports.put(("shop", "web-0"), {"sending": [_SENT]})

    assert report.sending == (
        SendingReport(
            "shop", "front", 80, 2, 1, 5, 1.5, 1_795_000_000.5, "it is away", 40, ("other",)
        ),
    )
    assert read_report(write_report(report), report.received_at) == report


def test_a_pod_speaks_of_its_own_namespace_s_objects_alone_and_a_collector_of_all() -> None:
    foreign = {**_SENT, "namespace": "bank"}

    assert Reports().put(("shop", "web-0"), {"sending": [foreign]}).sending == ()
    report = Reports().put(("livery", "c"), {"sending": [_SENT, foreign]}, is_collector=True)
    assert [item.namespace for item in report.sending] == ["shop", "bank"]


@pytest.mark.parametrize("value", [None, [], {}, "x", True, 1e400, float("nan"), 10**400, -1])
@pytest.mark.parametrize("name", sorted(_SENT))
def test_an_odd_value_of_sending_harms_nothing(name: str, value: object) -> None:
    fields = {"sending": [{**_SENT, name: value}, value] * 300}
    report = Reports().put(("shop", "b"), fields, is_collector=True)

    assert len(report.sending) <= 600
    for item in report.sending:
        assert min(item.sent, item.failed, item.waiting, item.lag_seconds, item.series) >= 0

import logging
from typing import Any

import pytest

from sidecar.errors import (
    ExpositionError,
    LateError,
    LimitError,
    LiveryError,
    UpstreamError,
    UpstreamTimeoutError,
)
from sidecar.process.metrics import Telemetry
from sidecar.roles.aggregate.metrics import METRICS
from sidecar.roles.aggregate.outcomes import MAX_LOGGED, Outcomes, kind_of
from sidecar.roles.aggregate.pods import Selection
from sidecar.scrape.pods.fan_out import Outcome
from sidecar.scrape.pods.targets import PodTrouble
from tests.sidecar.scrape.pods.apps import pod_target

_GONE = UpstreamError("connection refused")


def _down(name: str, error: LiveryError = _GONE) -> Outcome:
    return Outcome(pod_target(name, 80), error, 0.25)


class _Kept:
    def __init__(self) -> None:
        self.telemetry = Telemetry(METRICS)
        self.changes = 0
        self.outcomes = Outcomes(self.telemetry, self._change)
        names = ["a", "b", *map(str, range(MAX_LOGGED + 5))]
        self.outcomes.keep_only([pod_target(name, 80) for name in names])

    def _change(self) -> None:
        self.changes += 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UpstreamTimeoutError("x"), "timeout"),
        (LateError("x"), "timeout"),
        (LimitError("x"), "limit"),
        (ExpositionError(1, "x"), "exposition"),
        (UpstreamError("x"), "connection"),
    ],
)
def test_each_failure_has_a_kind(error: LiveryError, kind: str) -> None:
    assert kind_of(error) == kind


def test_failures_are_counted_by_kind_and_targets_by_state() -> None:
    kept = _Kept()
    kept.outcomes.take([_down("a"), _down("b", LimitError("too many"))])

    text = kept.telemetry.render().decode()
    assert 'livery_aggregate_target_failures_total{kind="connection"} 1' in text
    assert 'livery_aggregate_target_failures_total{kind="limit"} 1' in text
    assert 'livery_aggregate_targets{state="down"} 2' in text


def test_a_failure_is_logged_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    kept = _Kept()
    for _ in range(3):
        kept.outcomes.take([_down("a")])

    assert kept.changes == 1
    assert [record.getMessage() for record in caplog.records] == ["a target failed"]
    kept.outcomes.take([_down("a", UpstreamError("answered 500"))])
    assert kept.changes == 2


def test_of_many_failures_a_few_are_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    _Kept().outcomes.take([_down(str(number)) for number in range(MAX_LOGGED + 5)])

    assert len(caplog.records) == MAX_LOGGED + 1
    assert caplog.records[-1].getMessage() == "more targets failed"


def test_a_target_that_is_gone_is_forgotten() -> None:
    kept = _Kept()
    kept.outcomes.take([_down("a"), _down("b")])

    kept.outcomes.keep_only([pod_target("b", 80)])

    assert [state.url for state in kept.outcomes.states()] == [pod_target("b", 80).name]
    kept.outcomes.take([_down("a"), _down("b")])  # from a scrape that started earlier
    assert [state.url for state in kept.outcomes.states()] == [pod_target("b", 80).name]


def test_what_targets_shows_has_pods_warnings_and_targets() -> None:
    kept = _Kept()
    target = pod_target("a", 80)
    kept.outcomes.take([_down("a")])
    selection = Selection((target, pod_target("new", 81)), (PodTrouble("shop", "c", "odd"),), 2, 1)

    shown = kept.outcomes.describe(selection)

    assert shown["pods"] == {"running": 2, "notAnnotated": 1, "notRunning": 0}
    assert shown["warnings"] == [{"namespace": "shop", "pod": "c", "reason": "odd"}]
    targets: Any = shown["targets"]
    first, second = targets
    assert (first["up"], first["error"], first["durationSeconds"]) == (
        False, "connection refused", 0.25,
    )  # fmt: skip
    assert "up" not in second

import json
from collections import Counter

import pytest

from injector.web.control import MAX_COLLECTOR_REPORT_BYTES, MAX_REPORT_BYTES
from sidecar.control.sending import (
    COLLECTOR_REPORT_BYTES,
    POD_REPORT_BYTES,
    Loss,
    Sending,
    observe_sending,
    report_sending,
    sending_families,
)
from sidecar.process.metrics import Telemetry

_STATE = Sending(
    namespace="shop",
    rule="front",
    sent=100,
    lost=Counter({Loss.QUEUE_FULL: 3, Loss.ENDED: 1, Loss.REFUSED: 5}),
    waiting=7,
    lag_seconds=1.23456,
    last_sent_at=1_795_000_000.5,
    error="it answered 500",
    series=12,
    unmatched=("other_.*",),
)


def test_what_a_receiver_refused_is_told_apart_from_what_it_was_not_offered() -> None:
    assert (_STATE.failed, _STATE.dropped) == (5, 4)


def test_metrics_say_how_each_rule_s_sending_goes_and_forget_rules_that_are_gone() -> None:
    telemetry = Telemetry(sending_families("x"))
    observe_sending(telemetry, "x", [_STATE, _STATE._replace(rule="gone")])
    observe_sending(telemetry, "x", [_STATE])
    text = telemetry.render().decode()

    assert "gone" not in text
    for line in (
        'x_forward_samples_sent_total{namespace="shop",rule="front"} 100',
        'x_forward_samples_lost_total{namespace="shop",reason="queue_full",rule="front"} 3',
        'x_forward_samples_waiting{namespace="shop",rule="front"} 7',
        'x_forward_lag_seconds{namespace="shop",rule="front"} 1.235',
        'x_forward_failing{namespace="shop",rule="front"} 1',
        'x_forward_series{namespace="shop",rule="front"} 12',
    ):
        assert line in text


def test_a_report_says_the_same() -> None:
    (found,) = report_sending([_STATE], 10_000)

    assert found == {
        "namespace": "shop", "rule": "front", "sent": 100, "failed": 5, "dropped": 4, "waiting": 7,
        "lagSeconds": 1.235, "lastSentAt": 1_795_000_000.5, "error": "it answered 500",
        "series": 12, "unmatched": ["other_.*"],
    }  # fmt: skip


@pytest.mark.parametrize("limit", [POD_REPORT_BYTES, COLLECTOR_REPORT_BYTES])
@pytest.mark.parametrize("count", [1, 100, 5_000])
def test_a_report_is_bounded_whatever_there_is_to_say(limit: int, count: int) -> None:
    large = _STATE._replace(rule="r" * 253, error="x" * 10_000, unmatched=("\\" * 10_000,) * 500)
    found = report_sending([large] * count, limit)

    assert 0 < len(json.dumps(found)) <= limit
    assert len(found) == count or len(found) > 50


def test_rules_are_reported_whole_as_long_as_they_fit() -> None:
    found = report_sending([_STATE] * 100, POD_REPORT_BYTES)
    assert (found[99]["error"], found[99]["unmatched"]) == ("it answered 500", ["other_.*"])

    wordy = _STATE._replace(unmatched=("y" * 200,) * 20)
    found = report_sending([wordy] * 80, POD_REPORT_BYTES)
    assert (len(found), found[79]["error"], found[79]["unmatched"]) == (80, "it answered 500", [])


def test_what_a_proxy_says_of_sending_fits_into_what_the_injector_reads() -> None:
    assert POD_REPORT_BYTES <= MAX_REPORT_BYTES // 2
    assert COLLECTOR_REPORT_BYTES <= MAX_COLLECTOR_REPORT_BYTES * 3 // 4

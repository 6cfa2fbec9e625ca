from dataclasses import replace
from typing import Any

import pytest

from injector.model.access.sending import NOTHING_SENT, SendingFacts
from injector.model.access.status import build_status
from injector.model.access.verdicts import judge_namespace
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform

NOW, EARLIER = "2026-11-21T12:00:00Z", "2026-11-20T12:00:00Z"


PLATFORM = Platform()


def _status(
    spec: dict[str, Any],
    before: dict[str, Any] | None = None,
    *,
    facts: SendingFacts = NOTHING_SENT,
    platform: Platform = PLATFORM,
) -> dict[str, Any]:
    cluster = ClusterState()
    metadata = {"name": "rules", "namespace": "shop", "generation": 3}
    cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})
    (verdict,) = judge_namespace(cluster, "shop", platform)
    return build_status(verdict, before or {}, NOW, facts, sent_at=NOW if facts.sent else "")


def _conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def test_an_object_in_force_is_accepted_and_ready() -> None:
    status = _status({"metrics": ["up"], "metricIsolation": True})

    assert _conditions(status) == {"Accepted": ("True", "Accepted"), "Ready": ("True", "InForce")}
    assert status["observedGeneration"] == 3
    assert status["patterns"] == [{"pattern": "up", "kind": "exact", "note": ""}]


def test_an_object_that_grants_nothing_is_neither() -> None:
    status = _status({"metrics": []})

    assert _conditions(status) == {
        "Accepted": ("False", "Invalid"), "Ready": ("False", "NotAccepted"),
    }  # fmt: skip
    assert "spec.metrics" in status["conditions"][0]["message"]


_SENDS = {
    "enabled": True,
    "target": {"type": "prometheus", "prometheus": {"serviceName": "prometheus"}},
}
_FACTS = SendingFacts(senders=2, series=40, sent=80, failed=1, dropped=2, waiting=3)


def _sending(
    facts: SendingFacts = NOTHING_SENT, platform: Platform = PLATFORM, **remote: Any
) -> dict[str, Any]:
    spec = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": {**_SENDS, **remote}}
    return _status(spec, facts=facts, platform=platform)


def test_what_cannot_be_sent_is_said() -> None:
    status = _sending(target={"type": "pushgateway"})

    assert _conditions(status)["Ready"] == ("False", "InvalidTarget")
    assert "remoteWrite" not in status


def test_who_sends_is_ready_and_says_how_it_goes() -> None:
    status = _sending(_FACTS)

    assert _conditions(status)["Ready"] == ("True", "InForce")
    assert "2 proxies send 40 series" in str(status["conditions"])
    assert status["remoteWrite"] == {
        "senders": 2, "series": 40, "samplesSent": 80, "samplesFailed": 1, "samplesDropped": 2,
        "samplesWaiting": 3, "lagSeconds": 0, "lastSendTime": NOW,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "reason", "message"),
    [
        (NOTHING_SENT, "NotSuppliedByProxies", "is a pod injected?"),
        (replace(_FACTS, error="it answered 500"), "SendingFails", "it answered 500"),
        (
            replace(_FACTS, unmatched=("a", "b")),
            "NotSuppliedByProxies",
            "series for: a, b; collect",
        ),
        (replace(_FACTS, lag_seconds=121), "Lagging", "121 s old"),
    ],
)
def test_why_sending_is_not_as_it_should_be(facts: SendingFacts, reason: str, message: str) -> None:
    status = _sending(facts)

    assert _conditions(status)["Ready"] == ("False", reason)
    assert message in str(status["conditions"])


def test_what_collectors_read_is_not_judged_by_what_proxies_have() -> None:
    platform = Platform(collectors=("livery/collector",))
    facts = replace(_FACTS, unmatched=("up",))

    status = _sending(facts, platform, collect="prometheus")
    assert _conditions(status)["Ready"] == ("True", "InForce")
    status = _sending(NOTHING_SENT, platform, collect="prometheus")
    assert _conditions(status)["Ready"] == ("False", "NotSentYet")


def test_a_condition_that_stays_keeps_its_time() -> None:
    before = {
        "conditions": [
            {"type": "Accepted", "status": "True", "lastTransitionTime": EARLIER},
            {"type": "Ready", "status": "False", "lastTransitionTime": EARLIER},
        ]
    }
    accepted, ready = _status({"metrics": ["up"], "metricIsolation": True}, before)["conditions"]

    assert accepted["lastTransitionTime"] == EARLIER
    assert ready["lastTransitionTime"] == NOW


def test_a_status_is_bounded_however_large_the_object_is() -> None:
    status = _status({"metrics": ["(" * 100 for _ in range(900)], "metricIsolation": True})

    assert len(status["patterns"]) == 100
    assert len(status["conditions"][0]["message"]) <= 1000

from typing import Any

from injector.model.access.status import build_status
from injector.model.access.verdicts import judge_namespace
from injector.model.cluster.state import ClusterState
from injector.platform import Platform

NOW, EARLIER = "2026-11-21T12:00:00Z", "2026-11-20T12:00:00Z"


def _status(spec: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    cluster = ClusterState()
    metadata = {"name": "rules", "namespace": "shop", "generation": 3}
    cluster.put("MetricAccess", {"metadata": metadata, "spec": spec})
    (verdict,) = judge_namespace(cluster, "shop", Platform())
    return build_status(verdict, before or {}, NOW)


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


def test_what_is_not_sent_yet_is_said() -> None:
    remote = {"enabled": True, "target": {"type": "prometheus"}}
    status = _status({"metrics": ["up"], "metricIsolation": True, "remoteWrite": remote})

    assert _conditions(status)["Ready"] == ("False", "ForwardingNotAvailable")


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

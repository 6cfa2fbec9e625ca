import pytest

from sidecar.control.receivers import Received
from sidecar.errors import PolicyError
from sidecar.model.policy.pod import PodPolicy, parse_pod_policy
from sidecar.roles.pod.policy import PodPolicyReceiver

_RULES = [{"sourceLabels": ["a"], "action": "drop"}]
_WRONG = [{"action": "nonsense"}]


def _receiver(
    last: dict[str, object] | None = None, *, reads_access: bool = True
) -> PodPolicyReceiver:
    given = None if last is None else parse_pod_policy(last)
    receiver = PodPolicyReceiver(given, reads_access=reads_access)
    receiver.begin()
    return receiver


def _send(receiver: PodPolicyReceiver, policy: object) -> Received[PodPolicy]:
    received = receiver.take("policy", {"policy": policy})
    assert received is not None
    return received


def test_each_message_is_the_whole_policy() -> None:
    receiver = _receiver()
    _send(receiver, {"labels": {"team": "x"}, "metricRelabelings": _RULES})
    series = _send(receiver, {"labels": {"unit": "y"}}).policy.series

    assert (series.labels, series.relabelings) == ({"unit": "y"}, ())


@pytest.mark.parametrize("kind", ["", "synced", "put", "current", "future"])
def test_a_message_of_another_kind_is_no_policy(kind: str) -> None:
    assert _receiver().take(kind, {"policy": {"labels": {}}}) is None


@pytest.mark.parametrize(
    "message", [{}, {"policy": None}, {"policy": []}, {"policy": {"schema": 99}},
                {"policy": {"schema": "1"}}]
)  # fmt: skip
def test_a_policy_that_cannot_be_used_is_an_error(message: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        _receiver({}).take("policy", message)


def test_wrong_rules_leave_the_last_good_ones_over_any_number_of_policies() -> None:
    receiver = _receiver({"metricRelabelings": _RULES})
    for team in ("x", "y"):
        received = _send(receiver, {"labels": {"team": team}, "metricRelabelings": _WRONG})

        assert received.policy.series.labels == {"team": team}
        assert len(received.policy.series.relabelings) == 1
        assert "the last good value stays active" in received.problems[0]


def test_wrong_rules_without_good_ones_before_are_an_error() -> None:
    with pytest.raises(PolicyError, match="metricRelabelings"):
        _send(_receiver(), {"metricRelabelings": _WRONG})


def test_after_a_policy_that_cannot_be_used_the_one_before_is_still_the_last() -> None:
    receiver = _receiver()
    _send(receiver, {"metricRelabelings": _RULES})
    with pytest.raises(PolicyError):
        _send(receiver, {"schema": 99})

    received = _send(receiver, {"metricRelabelings": _WRONG})
    assert len(received.policy.series.relabelings) == 1


@pytest.mark.parametrize("reads_access", [True, False])
@pytest.mark.parametrize("access", [[], "nonsense", [{"nonsense": 1}]])
def test_access_rules_fail_closed_where_they_are_read_at_all(
    access: object, reads_access: bool
) -> None:
    received = _send(_receiver(reads_access=reads_access), {"access": access})

    assert received.policy.series.access_rules == (() if reads_access else None)
    assert (received.problems != ()) is (reads_access and access != [])


def test_access_rules_that_did_not_come_are_not_the_same_as_none() -> None:
    assert _send(_receiver(), {"labels": {}}).policy.series.access_rules is None


def test_what_a_newer_service_sends_is_noted_and_not_used() -> None:
    received = _send(_receiver(), {"labels": {"team": "x"}, "new": 1, "labelRules": {"newer": 2}})

    assert received.policy.series.labels == {"team": "x"}
    assert sorted(received.ignored) == ["labelRules.newer", "new"]

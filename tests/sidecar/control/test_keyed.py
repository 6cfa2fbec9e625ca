import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.keyed import KeyedPolicyReceiver
from sidecar.control.receivers import Received
from sidecar.errors import PolicyError
from sidecar.model.policy.node import NODE_KEYS, NodeChange, NodePolicy

_KEYS = {"platform": {}, "namespace/shop": {"team": "x"}, "node/a": "10.0.0.1"}
_DROP = {"sourceLabels": ["a"], "action": "drop"}


def _begun(keys: dict[str, object] | None = None) -> KeyedPolicyReceiver[NodePolicy]:
    """Make a receiver that has applied a first policy."""
    receiver = KeyedPolicyReceiver(NODE_KEYS)
    receiver.begin()
    _send(receiver, **(_KEYS if keys is None else keys))
    return receiver


def _send(
    receiver: KeyedPolicyReceiver[NodePolicy], *gone: str, **keys: object
) -> Received[NodeChange]:
    """Send a change: keys to put, and keys to delete."""
    for key, value in keys.items():
        assert receiver.take("put", {"key": key, "value": value}) is None
    for key in gone:
        assert receiver.take("delete", {"key": key}) is None
    received = receiver.take("synced", {})
    assert received is not None
    return received


def _labels(received: Received[NodeChange]) -> dict[str, dict[str, str]]:
    namespaces = received.policy.policy.series.namespaces or {}
    return {name: dict(labels) for name, labels in namespaces.items()}


def test_a_first_policy_is_complete_when_it_is_synced() -> None:
    receiver = KeyedPolicyReceiver(NODE_KEYS)
    received = _send(receiver, **_KEYS)

    assert _labels(received) == {"shop": {"team": "x"}}
    assert received.policy.policy.nodes == {"a": "10.0.0.1"}
    assert received.policy.namespaces is None
    assert (received.ignored, received.problems) == ((), ())


def test_a_change_names_the_namespaces_that_it_concerns() -> None:
    receiver = _begun()
    received = _send(receiver, "namespace/shop", **{"namespace/bank": {"team": "y"}})

    assert _labels(received) == {"bank": {"team": "y"}}
    assert received.policy.namespaces == frozenset(["shop", "bank"])


def test_a_new_connection_forgets_keys_that_it_does_not_send() -> None:
    receiver = _begun()
    receiver.begin()
    received = _send(receiver, platform={}, **{"namespace/bank": {}})

    assert _labels(received) == {"bank": {}}
    assert received.policy.namespaces == frozenset(["shop", "bank"])


def test_a_connection_that_finds_the_policy_current_begins_with_its_keys() -> None:
    receiver = _begun()
    receiver.begin()
    assert receiver.take("current", {}) is None
    received = _send(receiver, **{"namespace/bank": {"team": "y"}})

    assert _labels(received) == {"shop": {"team": "x"}, "bank": {"team": "y"}}
    assert received.policy.namespaces == frozenset(["bank"])


def test_keys_of_a_connection_that_broke_before_it_was_synced_are_forgotten() -> None:
    receiver = _begun()
    receiver.take("put", {"key": "namespace/half", "value": {"team": "z"}})
    receiver.begin()
    receiver.take("current", {})

    assert _labels(_send(receiver)) == {"shop": {"team": "x"}}


def test_a_platform_of_a_newer_schema_leaves_the_last_policy() -> None:
    receiver = _begun()
    with pytest.raises(PolicyError):
        _send(receiver, platform={"schema": 99}, **{"namespace/shop": {"team": "new"}})

    repaired = _send(receiver, platform={"labelRules": {"prefix": "p_"}})
    assert _labels(repaired) == {"shop": {"p_team": "new"}}


def test_what_is_ignored_is_reported_as_long_as_it_stands() -> None:
    receiver = _begun()
    _send(receiver, platform={"sampling": 1}, **{"quota/shop": 7})

    later = _send(receiver, **{"namespace/bank": {"team": "y"}})
    gone = _send(receiver, "quota/shop")

    assert sorted(later.ignored) == ["quota/shop", "sampling"]
    assert gone.ignored == ("sampling",)


def test_a_policy_that_was_not_applied_comes_whole_again() -> None:
    receiver = _begun()
    receiver.forget()
    receiver.begin()
    received = _send(receiver, **_KEYS)

    assert received.policy.namespaces is None
    assert _labels(received) == {"shop": {"team": "x"}}


def test_without_a_platform_there_is_no_policy() -> None:
    with pytest.raises(PolicyError, match="platform: the key is missing"):
        _send(KeyedPolicyReceiver(NODE_KEYS), **{"namespace/shop": {}})


@pytest.mark.parametrize("value", [5, [], {"team": 5}, {"team": "\ud800"}])
def test_a_namespace_that_cannot_be_read_keeps_its_labels_and_the_rest_goes_on(
    value: object,
) -> None:
    receiver = _begun()
    received = _send(receiver, **{"namespace/shop": value, "namespace/bank": {"team": "y"}})

    assert _labels(received) == {"shop": {"team": "x"}, "bank": {"team": "y"}}
    assert len(received.problems) == 1


def test_what_cannot_be_read_is_reported_until_it_can() -> None:
    receiver = _begun()
    _send(receiver, **{"namespace/shop": 5})

    later = _send(receiver, **{"namespace/bank": {"team": "y"}})
    mended = _send(receiver, **{"namespace/shop": {"team": "z"}})

    assert (len(later.problems), mended.problems) == (1, ())
    assert _labels(mended) == {"shop": {"team": "z"}, "bank": {"team": "y"}}


def test_a_key_without_a_value_leaves_the_last_one() -> None:
    receiver = _begun()
    assert receiver.take("put", {"key": "namespace/shop"}) is None

    received = _send(receiver)

    assert _labels(received)["shop"] == {"team": "x"}
    assert received.problems == ("namespace/shop: a value is needed",)


def test_rules_that_cannot_be_read_leave_the_last_good_ones() -> None:
    receiver = _begun({"platform": {"metricRelabelings": [_DROP]}})
    before = _send(receiver).policy.policy.series.relabelings
    received = _send(receiver, platform={"metricRelabelings": [{"action": "nonsense"}]})

    assert received.policy.policy.series.relabelings == before != ()
    assert "the last good value stays active" in received.problems[0]


def test_what_a_newer_service_sends_is_noted_and_not_used() -> None:
    received = _send(_begun(), platform={"new": 1}, **{"future/a": {}})

    assert sorted(received.ignored) == ["future/a", "new"]
    assert received.problems == ()


@pytest.mark.parametrize("kind", ["", "policy", "future"])
def test_a_message_of_another_kind_changes_nothing(kind: str) -> None:
    receiver = _begun()
    assert receiver.take(kind, {"key": "namespace/shop", "value": {}}) is None

    assert _labels(_send(receiver)) == {"shop": {"team": "x"}}


_CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, {}, {"x": "1"}, {"x": "2"}])),
    max_size=4,
)


@given(st.lists(_CHANGES, max_size=5))
def test_a_policy_that_came_in_changes_is_the_one_that_came_whole(
    changes: list[list[tuple[str, dict[str, str] | None]]],
) -> None:
    keys: dict[str, object] = {"platform": {}}
    receiver = _begun(keys)
    for change in changes:
        put = {f"namespace/{name}": labels for name, labels in change if labels is not None}
        gone = [f"namespace/{name}" for name, labels in change if labels is None]
        received = _send(receiver, *gone, **put)
        keys = {name: value for name, value in (keys | put).items() if name not in gone}

        whole = _send(KeyedPolicyReceiver(NODE_KEYS), **keys)
        assert received.policy.policy == whole.policy.policy

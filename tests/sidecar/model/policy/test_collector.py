from typing import Any

import pytest

from sidecar.errors import PolicyError
from sidecar.model.policy.collector import COLLECTOR_KEYS, CollectorPolicy
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import KeyChange, apply_keys
from sidecar.model.policy.secret import Credential

_RECEIVER = {"host": "prometheus", "port": 9090, "path": "/api/v1/write"}


def _rule(name: str, **fields: Any) -> dict[str, Any]:
    access = {"name": name, "patterns": ["up"], "namespaces": ["shop"]}
    return {"access": access, "intervalSeconds": 30, "receivers": [_RECEIVER], **fields}


_KEYS: dict[str, object] = {
    "platform": {"schema": 1, "allowedRanges": ["10.0.0.0/8"], "namespaceLabel": "ns"},
    "assignment/shop": {},
    "sending/shop/front": _rule("front"),
    "sending/bank/front": _rule("front"),
    "credential/shop/receiver/token": {"value": "geheim", "revision": "1"},
}


def _read(keys: dict[str, object]) -> tuple[KeyChange[CollectorPolicy], DocumentReader]:
    reader = DocumentReader(Origin.STREAM)
    return apply_keys(COLLECTOR_KEYS, None, {}, keys, reader=reader), reader


def test_only_what_is_assigned_is_sent() -> None:
    policy = _read(_KEYS)[0].policy
    forwarding = policy.forwarding()

    assert set(forwarding) == {"shop"}
    assert [rule.name for rule in forwarding["shop"].rules] == ["front"]
    assert forwarding["shop"].credentials == {"receiver/token": Credential("geheim")}
    assert policy.namespace_label == "ns"
    assert "geheim" not in repr(policy)


def test_a_rule_that_cannot_be_read_sends_nothing_and_the_others_go_on() -> None:
    keys = {**_KEYS, "sending/shop/odd": _rule("odd", narrows=1), "sending/shop": _rule("x")}
    change, reader = _read(keys)

    assert [rule.name for rule in change.policy.forwarding()["shop"].rules] == ["front"]
    assert len(reader.problems) == 2
    assert "geheim" not in str(reader.problems)


def test_keys_of_a_newer_service_are_ignored() -> None:
    change, _ = _read({**_KEYS, "shard/a": {}})

    assert change.ignored == {"shard/a": ("shard/a",)}


@pytest.mark.parametrize(
    "platform", [[], {"allowedRanges": "all"}, {"namespaceLabel": 1}, {"schema": 0}]
)
def test_a_platform_that_cannot_be_read_is_no_policy(platform: object) -> None:
    with pytest.raises(PolicyError, match=r"^platform: "):
        _read({**_KEYS, "platform": platform})

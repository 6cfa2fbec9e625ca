import pytest

from sidecar.control.keyed import KeyedPolicyReceiver
from sidecar.errors import PolicyError
from sidecar.model.policy.gateway import GATEWAY_KEYS, parse_gateway_policy

_RULE = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}


def test_a_file_has_the_rules_of_each_tenant() -> None:
    policy = parse_gateway_policy({"tenants": {"shop": [_RULE], "bank": []}}).policy

    assert [rule.name for rule in policy.tenants["shop"]] == ["a"]
    assert policy.tenants["bank"] == ()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"tenant": {}}, "tenant"),
        ({"tenants": {"shop": {}}}, "tenants.shop: a list of access rules is needed"),
        ({"tenants": {"shop": [{**_RULE, "new": 1}]}}, r"tenants\.shop\[0\]\.new"),
        ([], "a policy must be a mapping"),
    ],
)
def test_what_cannot_be_used_is_named(document: object, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        parse_gateway_policy(document)


def _follow(*steps: dict[str, object]) -> list[dict[str, list[str]]]:
    """Send keys as the stream does; return the names of each tenant's rules after each step."""
    receiver = KeyedPolicyReceiver(GATEWAY_KEYS)
    receiver.begin()
    sent: dict[str, object] = {}
    found = []
    for step in steps:
        keys = {"platform": {}, **step}
        for key in sent.keys() - keys.keys():
            receiver.take("delete", {"key": key})
        for key, value in keys.items():
            receiver.take("put", {"key": key, "value": value})
        sent = keys
        received = receiver.take("synced", {})
        assert received is not None
        tenants = received.policy.policy.tenants
        found.append({name: [rule.name for rule in rules] for name, rules in tenants.items()})
    return found


@pytest.mark.parametrize("broken", ["x", {}, 7])
def test_a_tenant_of_the_stream_that_cannot_be_read_loses_its_access(broken: object) -> None:
    good: dict[str, object] = {"tenant/shop": [_RULE], "tenant/bank": [_RULE]}

    first, second, third = _follow(good, {**good, "tenant/shop": broken}, good)

    assert first == third == {"shop": ["a"], "bank": ["a"]}
    assert not second.get("shop")
    assert second["bank"] == ["a"]


def test_a_rule_of_the_stream_that_cannot_be_read_grants_nothing_and_others_go_on() -> None:
    newer = {**_RULE, "name": "b", "onlyOnSundays": True}

    assert _follow({"tenant/shop": [_RULE, newer]}) == [{"shop": ["a"]}]


def test_what_was_read_in_part_goes_with_its_key() -> None:
    other, newer = {**_RULE, "name": "b"}, {**_RULE, "name": "c", "onlyOnSundays": True}
    partial: dict[str, object] = {"tenant/shop": [other, newer]}

    assert _follow(partial, {}) == [{"shop": ["b"]}, {}]
    assert _follow({"tenant/shop": [_RULE]}, partial, {"tenant/shop": [_RULE]}) == [
        {"shop": ["a"]}, {"shop": ["b"]}, {"shop": ["a"]},
    ]  # fmt: skip


def test_backends_of_the_stream_are_all_or_not_known() -> None:
    receiver = KeyedPolicyReceiver(GATEWAY_KEYS)
    receiver.begin()
    found = []
    for key, value in [
        ("platform", {}),
        ("platform", {"knowsBackends": True}),
        ("backend/default/http://10.0.0.1:9090/x", {}),
        ("backend/other/http://10.0.0.2:9090", {}),
        ("backend/default/http://10.0.0.3:9090", {"weight": 3}),
    ]:
        receiver.take("put", {"key": key, "value": value})
        received = receiver.take("synced", {})
        assert received is not None
        policy = received.policy.policy
        found.append((policy.knows_backends, sorted(policy.backends.values())))

    one, other = "http://10.0.0.1:9090/x", "http://10.0.0.3:9090"
    assert found == [(False, []), (True, []), (True, [one]), (True, [one]), (True, [one, other])]
    assert received is not None
    assert received.ignored == ("backend/default/http://10.0.0.3:9090.weight",)
    assert "only the group default is supported" in received.problems[0]


@pytest.mark.parametrize("platform", [[], {"knowsBackends": "yes"}, {"schema": 0}])
def test_a_platform_of_the_stream_that_cannot_be_read_is_no_policy(platform: object) -> None:
    receiver = KeyedPolicyReceiver(GATEWAY_KEYS)
    receiver.begin()
    receiver.take("put", {"key": "platform", "value": platform})

    with pytest.raises(PolicyError, match=r"^platform: "):
        receiver.take("synced", {})

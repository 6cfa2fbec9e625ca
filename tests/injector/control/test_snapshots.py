"""Snapshots: a proxy that applied every change holds what a new proxy receives."""

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.control.snapshots import (
    KeyedSnapshot,
    _put_lines,
    build_snapshot,
    describe_change,
    update_snapshot,
)
from injector.model.cluster.state import ClusterState, Key
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform

NODE, SHOP = Scope("node", knows_all_labels=True), Scope("pod", "shop")
PLATFORM = Platform(publishes_nodes=True)


class _World(NamedTuple):
    namespaces: dict[str, dict[str, str]]
    nodes: dict[str, str]


_LABELS = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["a", "b"]))
WORLDS = st.builds(
    _World,
    st.dictionaries(st.sampled_from(["bank", "shop", "yard"]), _LABELS),
    st.dictionaries(st.sampled_from(["n1", "n2"]), st.sampled_from(["10.0.0.1", "10.0.0.2"])),
)


def _turn_into(cluster: ClusterState, world: _World) -> frozenset[str]:
    """Turn a cluster into this world; returns the namespaces in which something changed."""
    changed: set[str] = set()
    cluster.listeners.append(changed.add)
    for namespace in cluster.namespaces():
        if namespace.name not in world.namespaces:
            cluster.remove(Key("Namespace", "", namespace.name))
    for name in cluster.nodes():
        if name not in world.nodes:
            cluster.remove(Key("Node", "", name))
    for name, labels in world.namespaces.items():
        cluster.put("Namespace", {"metadata": {"name": name, "labels": labels}})
    for name, address in world.nodes.items():
        addresses = [{"type": "InternalIP", "address": address}]
        cluster.put("Node", {"metadata": {"name": name}, "status": {"addresses": addresses}})
    return frozenset(changed)


def _receive(held: dict[str, Any], message: bytes) -> str:
    """Take a message as a proxy does; returns the version that it then has."""
    *changes, last = [json.loads(line) for line in message.splitlines()]
    for change in changes:
        if change["type"] == "put":
            held[change["key"]] = change["value"]
        else:
            del held[change["key"]]
    assert last["type"] == "synced"
    return str(last["version"])


def _two_snapshots(first: _World, second: _World) -> tuple[KeyedSnapshot, KeyedSnapshot]:
    cluster = ClusterState()
    _turn_into(cluster, first)
    before = build_snapshot(cluster, NODE, PLATFORM)
    changed = _turn_into(cluster, second)
    after = update_snapshot(before, changed, cluster=cluster, scope=NODE, platform=PLATFORM)
    assert isinstance(before, KeyedSnapshot)
    assert isinstance(after, KeyedSnapshot)
    return before, after


@given(WORLDS, WORLDS)
def test_an_updated_snapshot_is_the_one_that_a_new_replica_builds(
    first: _World, second: _World
) -> None:
    _, after = _two_snapshots(first, second)
    fresh = ClusterState()
    _turn_into(fresh, second)
    built = build_snapshot(fresh, NODE, PLATFORM)

    assert after == built
    assert after.version == built.version


@given(WORLDS, WORLDS)
def test_a_change_leaves_a_proxy_with_what_a_newcomer_gets(first: _World, second: _World) -> None:
    before, after = _two_snapshots(first, second)
    held: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    _receive(held, before.message)
    message, _ = describe_change(before, after)

    assert _receive(held, message) == _receive(whole, after.message) == after.version
    assert held == whole


@given(WORLDS, WORLDS)
def test_of_a_change_only_keys_that_differ_are_sent(first: _World, second: _World) -> None:
    before, after = _two_snapshots(first, second)
    message, _ = describe_change(before, after)
    sent = {json.loads(line).get("key") for line in message.splitlines()} - {None}
    keys = {*before.lines, *after.lines}

    assert sent == {key for key in keys if before.lines.get(key) != after.lines.get(key)}


def test_a_newer_whole_policy_takes_the_place_of_one_that_still_waits() -> None:
    cluster = ClusterState()
    first = build_snapshot(cluster, SHOP, PLATFORM)
    changed = _turn_into(cluster, _World({"shop": {"team": "a"}}, {}))
    second = update_snapshot(first, changed, cluster=cluster, scope=SHOP, platform=PLATFORM)

    assert describe_change(first, second) == (second.message, first.message)
    assert describe_change(None, second) == (second.message, None)
    assert json.loads(second.message)["policy"]["labels"] == {"team": "a"}


@pytest.mark.parametrize("scope", [NODE, SHOP], ids=["node", "pod"])
def test_a_version_names_the_content(scope: Scope) -> None:
    versions = []
    for team in "aba":
        cluster = ClusterState()
        _turn_into(cluster, _World({"shop": {"team": team}}, {}))
        versions.append(build_snapshot(cluster, scope, PLATFORM).version)

    assert versions[0] == versions[2] != versions[1]


def test_a_version_does_not_depend_on_the_value_of_a_credential() -> None:
    def snapshot(value: str, revision: str) -> KeyedSnapshot:
        credential = {"value": value, "revision": revision}
        return KeyedSnapshot(_put_lines({"platform": {}, "credential/shop/s/k": credential}))

    one = snapshot("geheim", "u/1")
    assert one.version == snapshot("other", "u/1").version != snapshot("geheim", "u/2").version
    assert b"geheim" in one.message
    assert "geheim" not in repr(one)

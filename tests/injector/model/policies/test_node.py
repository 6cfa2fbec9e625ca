from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.model.cluster.state import NO_NAMESPACE, ClusterState, Key
from injector.model.policies.node import build_node_keys, build_node_keys_of, is_node_key_of
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import apply_keys
from sidecar.model.policy.node import NODE_KEYS
from tests.injector.model.cluster.test_nodes import node

_NODES = Platform(publishes_nodes=True)

NODE = Scope("node", knows_all_labels=True)


def _put(cluster: ClusterState, name: str, **labels: str) -> None:
    cluster.put("Namespace", {"metadata": {"name": name, "labels": labels}})


def test_nodes_are_sent_only_where_the_platform_says_so() -> None:
    cluster = ClusterState()
    cluster.put("Node", node("w", ("InternalIP", "10.0.0.7")))

    assert not any(key.startswith("node/") for key in build_node_keys(cluster, NODE, Platform()))
    assert build_node_keys(cluster, NODE, _NODES)["node/w"] == "https://10.0.0.7:10250"


def test_proxies_read_what_is_written() -> None:
    cluster = ClusterState()
    _put(cluster, "shop", team="frontend")
    cluster.put("Node", node("w", ("InternalIP", "10.0.0.7")))
    drop = {"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"}
    platform = Platform(
        publishes_nodes=True, node_relabelings=(drop,), endpoint_relabelings={"/metrics": (drop,)}
    )
    reader = DocumentReader(Origin.FILE)

    policy = apply_keys(
        NODE_KEYS, None, {}, build_node_keys(cluster, NODE, platform), reader=reader
    ).policy

    assert policy.series.namespaces == {"shop": {"team": "frontend"}}
    assert policy.nodes == {"w": "https://10.0.0.7:10250"}
    assert (len(policy.series.relabelings), len(policy.endpoint_relabelings)) == (1, 1)


_CHANGES = st.lists(
    st.tuples(st.sampled_from(["shop", "bank", "node"]), st.sampled_from(["", "x", "y", "gone"])),
    max_size=12,
)


@given(_CHANGES)
def test_keys_built_by_change_are_those_of_the_whole(changes: list[tuple[str, str]]) -> None:
    cluster = ClusterState()
    changed: set[str] = set()
    cluster.listeners.append(changed.add)
    keys: dict[str, Any] = build_node_keys(cluster, NODE, _NODES)
    for name, value in changes:
        if name == "node" and value == "gone":
            cluster.remove(Key("Node", "", "w"))
        elif name == "node":
            cluster.put("Node", node("w", ("InternalIP", f"10.0.0.{len(value)}")))
        elif value == "gone":
            cluster.remove(Key("Namespace", "", name))
        else:
            _put(cluster, name, **({"team": value} if value else {}))
        kept = {key: item for key, item in keys.items() if not is_node_key_of(key, changed)}
        keys = {**kept, **build_node_keys_of(cluster, NODE, _NODES, changed)}
        changed.clear()

    assert keys == build_node_keys(cluster, NODE, _NODES)


def test_a_change_of_no_namespace_concerns_nodes_alone() -> None:
    assert is_node_key_of("node/w", {NO_NAMESPACE})
    assert not is_node_key_of("namespace/shop", {NO_NAMESPACE})
    assert not is_node_key_of("platform", {NO_NAMESPACE, "shop"})

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.model.cluster.state import NO_NAMESPACE, ClusterState, Key
from injector.model.policies.gateway import (
    build_gateway_keys,
    build_gateway_keys_of,
    is_gateway_key_of,
)
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.gateway import GATEWAY_KEYS
from sidecar.model.policy.keyed import apply_keys

_ALL = Scope("gateway", knows_every_tenant=True)


def _namespace(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def _access(namespace: str, name: str, **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "observability.ethos.io/v1alpha1",
        "kind": "MetricAccess",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": namespace, "metrics": ["up"], **spec},
    }


def _cluster() -> ClusterState:
    cluster = ClusterState()
    for name in ("shop", "bank"):
        cluster.put("Namespace", _namespace(name))
        cluster.put("MetricAccess", _access(name, "a"))
    return cluster


def test_gateways_read_what_is_written() -> None:
    keys = build_gateway_keys(_cluster(), _ALL, Platform())

    policy = apply_keys(GATEWAY_KEYS, None, {}, keys, reader=DocumentReader(Origin.FILE)).policy

    assert {
        name: [rule.namespaces for rule in rules] for name, rules in policy.tenants.items()
    } == {
        "shop": [frozenset({"shop"})],
        "bank": [frozenset({"bank"})],
    }


def test_an_object_that_reaches_for_another_namespace_needs_the_platforms_grant() -> None:
    cluster = _cluster()
    cluster.put("MetricAccess", _access("shop", "a", source="bank", metricIsolation=False))

    def namespaces(platform: Platform) -> object:
        return build_gateway_keys(cluster, _ALL, platform)["tenant/shop"][0]["namespaces"]

    assert "bank" not in str(namespaces(Platform()))
    assert "bank" in str(namespaces(Platform(cross_namespace={"shop": ("bank",)})))


def test_with_a_namespace_goes_its_access() -> None:
    cluster = _cluster()
    cluster.remove(Key("Namespace", "", "shop"))

    assert "tenant/shop" not in build_gateway_keys(cluster, _ALL, Platform())
    assert build_gateway_keys_of(cluster, _ALL, Platform(), ["shop"]) == {}


def test_backends_that_are_not_known_are_not_said_to_be_none() -> None:
    cluster = _cluster()
    assert build_gateway_keys(cluster, _ALL, Platform())["platform"]["knowsBackends"] is False

    cluster.put_backends(["http://10.0.0.1:9090"])
    keys = build_gateway_keys_of(cluster, _ALL, Platform(), [NO_NAMESPACE])
    assert keys == {
        "platform": {"schema": 1, "knowsBackends": True},
        "backend/default/http://10.0.0.1:9090": {},
    }
    assert all(is_gateway_key_of(key, [NO_NAMESPACE]) for key in keys)
    assert not any(is_gateway_key_of(key, ["shop"]) for key in keys)


@given(st.lists(st.tuples(st.sampled_from(["shop", "bank"]), st.sampled_from("ab-nu")), max_size=9))
def test_keys_built_by_change_are_those_of_the_whole(changes: list[tuple[str, str]]) -> None:
    cluster = _cluster()
    keys = build_gateway_keys(cluster, _ALL, Platform())
    for namespace, change in changes:
        if change == "-":
            cluster.remove(Key("MetricAccess", namespace, "a"))
        elif change == "n":
            cluster.remove(Key("Namespace", "", namespace))
        elif change == "u":
            cluster.put_backends([f"http://{namespace}:9090"])
            namespace = NO_NAMESPACE
        else:
            cluster.put("MetricAccess", _access(namespace, change))
        kept = {key: keys[key] for key in keys if not is_gateway_key_of(key, [namespace])}
        keys = kept | build_gateway_keys_of(cluster, _ALL, Platform(), [namespace])

    assert keys == build_gateway_keys(cluster, _ALL, Platform())

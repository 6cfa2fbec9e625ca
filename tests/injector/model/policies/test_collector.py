from typing import Any

import pytest

from injector.model.cluster.state import NO_NAMESPACE, ClusterState
from injector.model.policies.collector import (
    build_collector_keys,
    build_collector_keys_of,
    choose_collector,
    is_collector_key_of,
)
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform, RemoteWriteSettings
from sidecar.model.policy.collector import COLLECTOR_KEYS
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import apply_keys

_PLATFORM = Platform(
    collectors=("livery/collector",),
    remote_write=RemoteWriteSettings(allowed_ranges=("10.0.0.0/8",), secret_namespaces=("shop",)),
)
_NAMES = [f"ns-{number}" for number in range(60)]


def _scope(pod: str = "collector-0") -> Scope:
    return Scope("collector", knows_every_tenant=True, pod=pod)


def _access(namespace: str, name: str = "front", **target: Any) -> dict[str, Any]:
    where = target or {"type": "prometheus", "prometheus": {"serviceName": "prometheus"}}
    remote = {"enabled": True, "collect": "prometheus", "target": where}
    spec = {"metrics": ["up"], "metricIsolation": True, "remoteWrite": remote}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _cluster(*namespaces: str) -> ClusterState:
    cluster = ClusterState()
    for name in namespaces:
        cluster.put("Namespace", {"metadata": {"name": name}})
        cluster.put("MetricAccess", _access(name))
    return cluster


def _assigned(cluster: ClusterState, pod: str) -> set[str]:
    keys = build_collector_keys(cluster, _scope(pod), _PLATFORM)
    return {key.split("/")[1] for key in keys if key.startswith("assignment/")}


def test_a_collector_reads_what_is_written() -> None:
    cluster = _cluster("shop", "bank")
    cluster.put("Secret", {
        "metadata": {
            "name": "receiver", "namespace": "shop",
            "annotations": {"livery.dev/remote-write-hosts": "m.example.com"},
        },
        "stringData": {"token": "geheim"},
    })  # fmt: skip
    url = {
        "url": "https://m.example.com/write",
        "bearerTokenSecret": {"name": "receiver", "key": "token"},
    }
    cluster.put("MetricAccess", _access("shop", "far", type="remote_write", remoteWrite=url))
    keys = build_collector_keys(cluster, _scope(), _PLATFORM)
    policy = apply_keys(COLLECTOR_KEYS, None, {}, keys, reader=DocumentReader(Origin.FILE)).policy
    forwarding = policy.forwarding()

    assert set(forwarding) == {"shop", "bank"}
    assert [rule.name for rule in forwarding["shop"].rules] == ["far", "front"]
    assert set(forwarding["shop"].credentials) == {"receiver/token"}
    assert forwarding["bank"].credentials == {}
    assert [str(item) for item in forwarding["bank"].allowed] == ["10.0.0.0/8"]


def test_each_namespace_is_one_collector_s() -> None:
    cluster = _cluster(*_NAMES)
    cluster.put_collectors(["collector-0", "collector-1", "collector-2"])
    parts = [_assigned(cluster, f"collector-{number}") for number in range(3)]

    assert set().union(*parts) == set(_NAMES)
    assert sum(map(len, parts)) == len(_NAMES)
    assert all(parts)
    assert _assigned(cluster, "collector-9") == set()


def test_when_a_collector_goes_only_its_own_namespaces_move() -> None:
    collectors = [f"collector-{number}" for number in range(3)]
    before = {name: choose_collector(name, collectors) for name in _NAMES}
    after = {name: choose_collector(name, collectors[:2]) for name in _NAMES}

    assert {name for name in _NAMES if before[name] != after[name]} == {
        name for name in _NAMES if before[name] == "collector-2"
    }


def test_a_collector_of_a_folder_has_all_namespaces() -> None:
    assert _assigned(_cluster("shop", "bank"), "any") == {"shop", "bank"}


def test_with_a_namespace_goes_what_its_objects_send() -> None:
    cluster = ClusterState()
    cluster.put("MetricAccess", _access("gone"))

    assert list(build_collector_keys(cluster, _scope(), _PLATFORM)) == ["platform"]


@pytest.mark.parametrize("changed", [["shop"], ["bank", "mint"], [NO_NAMESPACE], []])
def test_after_a_change_only_its_keys_are_written_anew(changed: list[str]) -> None:
    cluster = _cluster("shop", "bank", "mint")
    cluster.put_collectors(["collector-0"])
    whole = build_collector_keys(cluster, _scope(), _PLATFORM)
    part = build_collector_keys_of(cluster, _scope(), _PLATFORM, changed)

    assert part == {key: value for key, value in whole.items() if is_collector_key_of(key, changed)}

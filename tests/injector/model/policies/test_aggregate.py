from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.model.cluster.state import ClusterState, Key
from injector.model.policies.aggregate import (
    build_aggregate_keys,
    build_aggregate_keys_of,
    is_aggregate_key_of,
)
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.policy.aggregate import AGGREGATE_KEYS
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import apply_keys
from tests.sidecar.model.pods.test_scraped_pod import raw_pod

_SHOP, _ALL = Scope("aggregate", pods_of=("shop",)), Scope("aggregate", pods_of=("*",))
_PLATFORM = Platform(metric_relabelings=({"action": "labeldrop", "regex": "x"},))


def _pod(namespace: str, name: str, **changes: Any) -> dict[str, Any]:
    return raw_pod(
        metadata__namespace=namespace, metadata__name=name, metadata__uid=f"uid-{name}", **changes
    )


def _cluster(*pods: dict[str, Any]) -> ClusterState:
    cluster = ClusterState()
    for name in ("shop", "bank"):
        cluster.put("Namespace", {"metadata": {"name": name, "labels": {"team": name}}})
    for pod in pods:
        cluster.put("Pod", pod)
    return cluster


def test_a_proxy_hears_of_the_pods_of_granted_namespaces_alone() -> None:
    cluster = _cluster(_pod("shop", "web-0"), _pod("bank", "db-0"))

    shop = build_aggregate_keys(cluster, _SHOP, _PLATFORM)
    everything = build_aggregate_keys(cluster, _ALL, _PLATFORM)

    assert set(shop) == {"platform", "namespace/shop", "pod/shop/uid-web-0"}
    assert set(everything) - set(shop) == {"namespace/bank", "pod/bank/uid-db-0"}
    assert shop["platform"]["granted"] == ["shop"]


def test_a_pod_is_sent_trimmed() -> None:
    keys = build_aggregate_keys(_cluster(_pod("shop", "web-0")), _SHOP, _PLATFORM)

    pod = keys["pod/shop/uid-web-0"]
    assert "managedFields" not in pod["metadata"]
    assert "nodeName" not in pod["spec"]


def test_a_pod_that_has_ended_or_cannot_be_read_is_not_sent() -> None:
    cluster = _cluster(
        _pod("shop", "done", status={"phase": "Succeeded"}),
        _pod("shop", "odd", spec={"containers": 5}),
    )

    assert set(build_aggregate_keys(cluster, _SHOP, _PLATFORM)) == {"platform", "namespace/shop"}


def test_the_proxy_reads_what_is_written() -> None:
    keys = build_aggregate_keys(_cluster(_pod("shop", "web-0")), _SHOP, _PLATFORM)
    reader = DocumentReader(Origin.STREAM)

    policy = apply_keys(AGGREGATE_KEYS, None, {}, keys, reader=reader).policy

    assert (reader.ignored, reader.problems) == ([], [])
    assert policy.pods["shop/uid-web-0"].name == "web-0"
    assert policy.series.namespaces == {"shop": {"team": "shop"}}
    assert policy.granted == ("shop",)
    assert len(policy.series.relabelings) == 1


_NAMES = st.sets(st.tuples(st.sampled_from(["shop", "bank", "yard"]), st.sampled_from("abc")))


@given(before=_NAMES, after=_NAMES, scope=st.sampled_from([_SHOP, _ALL]))
def test_after_a_change_the_keys_that_it_may_concern_are_enough(
    before: set[tuple[str, str]], after: set[tuple[str, str]], scope: Scope
) -> None:
    cluster = _cluster(*[_pod(*name) for name in before])
    kept = build_aggregate_keys(cluster, scope, _PLATFORM)
    changed: set[str] = set()
    cluster.listeners.append(changed.add)
    for gone in before - after:
        cluster.remove(Key("Pod", *gone))
    for present in after:
        cluster.put("Pod", _pod(*present))

    kept = {key: item for key, item in kept.items() if not is_aggregate_key_of(key, changed)}
    kept |= build_aggregate_keys_of(cluster, scope, _PLATFORM, changed)

    assert kept == build_aggregate_keys(cluster, scope, _PLATFORM)

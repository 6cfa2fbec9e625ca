"""The policy of a collector, by key; `sidecar.model.policy.collector` reads it.

Each namespace is assigned to one collector by rendezvous hashing: every replica of the injector
makes the same choice, and when a collector leaves, only its own namespaces move.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from injector.model.access.verdicts import judge_namespace, sending_by
from injector.model.cluster.state import NO_NAMESPACE, ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Collect, Platform
from sidecar.model.policy.collector import ASSIGNMENT_PREFIX, CREDENTIAL_PREFIX, SENDING_PREFIX
from sidecar.model.policy.document import SCHEMA
from sidecar.model.policy.keyed import PLATFORM_KEY

_PREFIXES = (ASSIGNMENT_PREFIX, SENDING_PREFIX, CREDENTIAL_PREFIX)


def build_collector_keys(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Build all keys of the policy of one collector.

    Args:
        cluster: the cluster's state, including the ready collectors.
        scope: which collector it is for.
        platform: the platform's settings.
    """
    names = [namespace.name for namespace in cluster.namespaces()]
    return {PLATFORM_KEY: _platform(platform), **_build(cluster, scope, platform, names)}


def is_collector_key_of(key: str, namespaces: Collection[str]) -> bool:
    """Return whether a change in one of these namespaces may affect a key."""
    if NO_NAMESPACE in namespaces:
        return True  # the set of collectors has changed
    prefix = next((item for item in _PREFIXES if key.startswith(item)), "")
    return bool(prefix) and key.removeprefix(prefix).partition("/")[0] in namespaces


def build_collector_keys_of(
    cluster: ClusterState, scope: Scope, platform: Platform, namespaces: Collection[str]
) -> dict[str, Any]:
    """Build the keys for which `is_collector_key_of` is true.

    Args:
        cluster: the cluster's state.
        scope: which collector it is for.
        platform: the platform's settings.
        namespaces: names of namespaces; `NO_NAMESPACE` among them stands for the collectors.
    """
    if NO_NAMESPACE in namespaces:
        return build_collector_keys(cluster, scope, platform)
    return _build(cluster, scope, platform, namespaces)


def choose_collector(namespace: str, collectors: Sequence[str]) -> str:
    """Return the collector that a namespace is assigned to; empty if there are no collectors."""
    return max(collectors, key=lambda name: _weight(namespace, name), default="")


def _weight(namespace: str, collector: str) -> bytes:
    return hashlib.sha256(f"{collector}/{namespace}".encode()).digest()


def _platform(platform: Platform) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "allowedRanges": list(platform.remote_write.allowed_ranges),
        "namespaceLabel": platform.gateway_namespace_label,
    }


def _build(
    cluster: ClusterState, scope: Scope, platform: Platform, namespaces: Iterable[str]
) -> dict[str, Any]:
    collectors = cluster.collectors()
    keys: dict[str, Any] = {}
    for namespace in namespaces:
        if cluster.namespace(namespace) is None:
            continue  # sending ends with the namespace, even while its objects remain
        # If the collectors are unknown, this is the only one.
        if collectors is not None and choose_collector(namespace, collectors) != scope.pod:
            continue
        # Even without objects: its collector ends the series when the last object is removed.
        keys[f"{ASSIGNMENT_PREFIX}{namespace}"] = {}
        verdicts = judge_namespace(cluster, namespace, platform)
        plans = sending_by(verdicts, Collect.PROMETHEUS)
        for name, plan in plans.items():
            keys[f"{SENDING_PREFIX}{namespace}/{name}"] = plan.rule
            for credential, value in plan.credentials.items():
                keys[f"{CREDENTIAL_PREFIX}{namespace}/{credential}"] = value
    return keys

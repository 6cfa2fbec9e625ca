"""The policy of role `node`, by key; `sidecar.model.policy.node` reads it."""

from collections.abc import Collection
from typing import Any

from injector.model.admission.templates import label_rules
from injector.model.cluster.objects import Namespace
from injector.model.cluster.state import NO_NAMESPACE, ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.labels.namespace_labels import select_labels
from sidecar.model.policy.document import SCHEMA
from sidecar.model.policy.keyed import NAMESPACE_PREFIX, PLATFORM_KEY
from sidecar.model.policy.node import NODE_PREFIX


def build_node_keys(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Build all keys of the policy: `platform`, `namespace/NAME`, `node/NAME`.

    Args:
        cluster: the cluster's state.
        scope: what the proxies may know: every namespace's labels.
        platform: the platform's settings.
    """
    keys = {PLATFORM_KEY: _build_platform(platform)}
    for item in cluster.namespaces():
        keys |= _build_namespace(item, platform)
    return keys | _build_nodes(cluster, platform)


def is_node_key_of(key: str, namespaces: Collection[str]) -> bool:
    """Return whether a change in one of these namespaces may affect a key."""
    if key.startswith(NODE_PREFIX):
        return NO_NAMESPACE in namespaces
    return key.startswith(NAMESPACE_PREFIX) and key.removeprefix(NAMESPACE_PREFIX) in namespaces


def build_node_keys_of(
    cluster: ClusterState, scope: Scope, platform: Platform, namespaces: Collection[str]
) -> dict[str, Any]:
    """Build the keys for which `is_node_key_of` is true.

    Args:
        cluster: the cluster's state.
        scope: what the proxies may know: every namespace's labels.
        platform: the platform's settings.
        namespaces: names of namespaces; `NO_NAMESPACE` among them stands for nodes.
    """
    keys: dict[str, Any] = {}
    for name in namespaces:
        namespace = cluster.namespace(name)
        if namespace is not None:
            keys |= _build_namespace(namespace, platform)
    return keys | (_build_nodes(cluster, platform) if NO_NAMESPACE in namespaces else {})


def _build_platform(platform: Platform) -> dict[str, Any]:
    rules: dict[str, Any] = {
        "labelRules": label_rules(platform),
        "metricRelabelings": list(platform.node_relabelings),
    }
    if platform.endpoint_relabelings:
        by_endpoint = platform.endpoint_relabelings.items()
        rules["endpointRelabelings"] = {path: list(own) for path, own in by_endpoint}
    return {"schema": SCHEMA, **rules}


def _build_namespace(namespace: Namespace, platform: Platform) -> dict[str, Any]:
    labels = select_labels(namespace.labels, platform.labels)
    return {f"{NAMESPACE_PREFIX}{namespace.name}": labels} if labels else {}


def _build_nodes(cluster: ClusterState, platform: Platform) -> dict[str, Any]:
    if not platform.publishes_nodes:
        return {}
    return {f"{NODE_PREFIX}{name}": url for name, url in cluster.nodes().items()}

"""The policy of role `gateway`, by key; `sidecar.model.policy.gateway` reads it."""

from collections.abc import Collection, Iterable
from typing import Any

from injector.model.access.verdicts import build_access
from injector.model.cluster.state import NO_NAMESPACE, ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform
from sidecar.model.policy.document import SCHEMA
from sidecar.model.policy.gateway import BACKEND_PREFIX, DEFAULT_GROUP, TENANT_PREFIX
from sidecar.model.policy.keyed import PLATFORM_KEY


def build_gateway_keys(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Build all keys of the policy: `platform`, `tenant/NAMESPACE` and `backend/GROUP/URL`.

    Args:
        cluster: the cluster's state.
        scope: what the gateways may know: every tenant's rules.
        platform: the platform's settings, with its grants.
    """
    names = (item.name for item in cluster.namespaces())
    return {**_build_backends(cluster), **_build_tenants(cluster, platform, names)}


def is_gateway_key_of(key: str, namespaces: Collection[str]) -> bool:
    """Return whether a change in one of these namespaces may affect a key."""
    if key.startswith(TENANT_PREFIX):
        return key.removeprefix(TENANT_PREFIX) in namespaces
    return NO_NAMESPACE in namespaces


def build_gateway_keys_of(
    cluster: ClusterState, scope: Scope, platform: Platform, namespaces: Collection[str]
) -> dict[str, Any]:
    """Build the keys for which `is_gateway_key_of` is true.

    Args:
        cluster: the cluster's state.
        scope: what the gateways may know: every tenant's rules.
        platform: the platform's settings, with its grants.
        namespaces: names of namespaces; `NO_NAMESPACE` among them stands for backends.
    """
    backends = _build_backends(cluster) if NO_NAMESPACE in namespaces else {}
    return {**backends, **_build_tenants(cluster, platform, namespaces)}


def _build_backends(cluster: ClusterState) -> dict[str, Any]:
    urls = cluster.backends()
    # Unknown is not the same as none: gateways then keep the backends they have.
    platform = {"schema": SCHEMA, "knowsBackends": urls is not None}
    keys: dict[str, Any] = {f"{BACKEND_PREFIX}{DEFAULT_GROUP}/{url}": {} for url in urls or ()}
    return {PLATFORM_KEY: platform, **keys}


def _build_tenants(
    cluster: ClusterState, platform: Platform, names: Iterable[str]
) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name in names:
        if cluster.namespace(name) is None:
            continue  # access ends with the namespace, even while its objects remain
        rules = build_access(cluster, name, platform)
        if rules:
            keys[f"{TENANT_PREFIX}{name}"] = rules
    return keys

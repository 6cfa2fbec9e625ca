"""The policy of role `aggregate`, by key; `sidecar.model.policy.aggregate` reads it."""

from collections.abc import Collection, Iterable
from typing import Any

from injector.errors import ObjectError
from injector.model.admission.templates import label_rules
from injector.model.cluster.objects import Namespace, Object
from injector.model.cluster.state import ClusterState, Key
from injector.model.policies.scope import EVERY_NAMESPACE, Scope
from injector.platform.settings import Platform
from sidecar.errors import PodsError
from sidecar.model.labels.namespace_labels import select_labels
from sidecar.model.pods.scraped_pod import trim_pod
from sidecar.model.policy.aggregate import POD_PREFIX
from sidecar.model.policy.document import SCHEMA
from sidecar.model.policy.keyed import NAMESPACE_PREFIX, PLATFORM_KEY


def build_aggregate_keys(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Build all keys of the policy: `platform`, `namespace/NAME`, `pod/NAMESPACE/UID`.

    Args:
        cluster: the cluster's state.
        scope: the namespaces whose pods it may know.
        platform: the platform's settings.
    """
    names = scope.pods_of
    if names == (EVERY_NAMESPACE,):
        names = tuple(item.name for item in cluster.namespaces())
    rules = {
        "schema": SCHEMA,
        "labelRules": label_rules(platform),
        "metricRelabelings": list(platform.metric_relabelings),
        "granted": list(scope.pods_of),
    }
    return {PLATFORM_KEY: rules, **_build_namespaces(cluster, platform, names)}


def is_aggregate_key_of(key: str, namespaces: Collection[str]) -> bool:
    """Return whether a change in one of these namespaces may affect a key."""
    if key.startswith(POD_PREFIX):
        return key.split("/", 2)[1] in namespaces
    return key.startswith(NAMESPACE_PREFIX) and key.removeprefix(NAMESPACE_PREFIX) in namespaces


def build_aggregate_keys_of(
    cluster: ClusterState, scope: Scope, platform: Platform, namespaces: Collection[str]
) -> dict[str, Any]:
    """Build the keys for which `is_aggregate_key_of` is true.

    Args:
        cluster: the cluster's state.
        scope: the namespaces whose pods it may know.
        platform: the platform's settings.
        namespaces: names of namespaces.
    """
    return _build_namespaces(cluster, platform, filter(scope.knows_pods_of, namespaces))


def _build_namespaces(
    cluster: ClusterState, platform: Platform, names: Iterable[str]
) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name in names:
        namespace = cluster.namespace(name)
        if namespace is None:
            continue  # its pods are sent only together with its labels
        keys |= _build_labels(namespace, platform)
        for pod_name, _ in cluster.named("Pod", name):
            pod = cluster.derive(Key("Pod", name, pod_name), _trim)
            if pod is not None:
                keys[f"{POD_PREFIX}{name}/{pod['metadata']['uid']}"] = pod
    return keys


def _build_labels(namespace: Namespace, platform: Platform) -> dict[str, Any]:
    labels = select_labels(namespace.labels, platform.labels)
    return {f"{NAMESPACE_PREFIX}{namespace.name}": labels} if labels else {}


def _trim(pod: Object) -> dict[str, Any] | None:
    """Reduce a pod to what a proxy reads; None if it is malformed or has ended."""
    try:
        return trim_pod(pod)
    except (PodsError, ObjectError):
        return None

"""The policy of one proxy: a function of the present objects, scoped to what it may know."""

from typing import Any, NamedTuple

from injector.model.access.verdicts import build_access
from injector.model.admission.templates import label_rules
from injector.model.cluster.state import ClusterState
from injector.platform import Platform
from sidecar.model.labels.namespace_labels import select_labels
from sidecar.model.policy.document import SCHEMA


class Scope(NamedTuple):
    """What a proxy may know: its namespace, and whether every namespace's labels.

    A node proxy is of no namespace, and is told by key: of 5,000 namespaces only what changed.
    """

    namespace: str
    knows_all_labels: bool = False

    @property
    def is_by_key(self) -> bool:
        """Whether its policy goes out in parts."""
        return not self.namespace


NODE_SCOPE = Scope("", knows_all_labels=True)
PLATFORM_KEY = "platform"
"""Key of what does not depend on a namespace."""


def build_parts(cluster: ClusterState, platform: Platform) -> dict[str, Any]:
    """Write the policy of node proxies by key: `platform`, `namespace/NAME`, `node/NAME`.

    Args:
        cluster: what is known of the cluster.
        platform: the platform's settings.
    """
    rules: dict[str, Any] = {
        "labelRules": label_rules(platform),
        "metricRelabelings": list(platform.node_relabelings),
    }
    if platform.endpoint_relabelings:
        by_endpoint = platform.endpoint_relabelings.items()
        rules["endpointRelabelings"] = {path: list(own) for path, own in by_endpoint}
    parts: dict[str, Any] = {PLATFORM_KEY: {"schema": SCHEMA, **rules}}
    for item in cluster.namespaces():
        labels = select_labels(item.labels, platform.labels)
        if labels:
            parts[f"namespace/{item.name}"] = labels
    if platform.tells_nodes:
        parts |= {f"node/{name}": url for name, url in cluster.nodes().items()}
    return parts


def build_policy(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Write the policy document of a scope.

    Args:
        cluster: what is known of the cluster.
        scope: whom it is for.
        platform: the platform's settings.
    """
    namespace = cluster.namespace(scope.namespace)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "namespace": scope.namespace,
        "labels": {} if namespace is None else select_labels(namespace.labels, platform.labels),
        "labelRules": label_rules(platform),
        "metricRelabelings": list(platform.metric_relabelings),
        "access": build_access(cluster, scope.namespace, platform),
    }
    if scope.knows_all_labels:
        document["namespaces"] = {
            item.name: select_labels(item.labels, platform.labels) for item in cluster.namespaces()
        }
    return document

"""The policy of role `pod`, one document; `sidecar.model.policy.pod` reads it."""

from typing import Any

from injector.model.access.verdicts import build_access
from injector.model.admission.templates import label_rules
from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.platform import Platform
from sidecar.model.labels.namespace_labels import select_labels
from sidecar.model.policy.document import SCHEMA


def build_pod_policy(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Write the policy document of a scope.

    Args:
        cluster: what is known of the cluster.
        scope: what the proxy may know.
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

"""The policy of role `pod`, one document; `sidecar.model.policy.pod` reads it."""

from collections.abc import Iterable, Mapping
from typing import Any

from injector.model.access.forwarding import ForwardingPlan
from injector.model.access.verdicts import judge_namespace, sending_by, write_access
from injector.model.admission.templates import label_rules
from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Collect, Platform
from sidecar.model.labels.namespace_labels import select_labels
from sidecar.model.policy.document import SCHEMA


def build_pod_policy(cluster: ClusterState, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Build the policy document of a scope.

    Args:
        cluster: the cluster's state.
        scope: what the proxy may know.
        platform: the platform's settings.
    """
    namespace = cluster.namespace(scope.namespace)
    verdicts = judge_namespace(cluster, scope.namespace, platform)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "namespace": scope.namespace,
        "labels": {} if namespace is None else select_labels(namespace.labels, platform.labels),
        "labelRules": label_rules(platform),
        "metricRelabelings": list(platform.metric_relabelings),
        "access": write_access(verdicts),
    }
    plans = sending_by(verdicts, Collect.PROXIES)
    if plans:
        document["forward"] = _write_forwarding(plans.values(), platform)
    if scope.knows_all_labels:
        document["namespaces"] = {
            item.name: select_labels(item.labels, platform.labels) for item in cluster.namespaces()
        }
    return document


def _write_forwarding(plans: Iterable[ForwardingPlan], platform: Platform) -> dict[str, Any]:
    rules: list[Mapping[str, Any] | None] = []
    credentials: dict[str, Mapping[str, Any]] = {}
    for plan in plans:
        rules.append(plan.rule)
        credentials |= plan.credentials
    ranges = list(platform.remote_write.allowed_ranges)
    return {"allowedRanges": ranges, "rules": rules, "credentials": credentials}

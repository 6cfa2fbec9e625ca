"""The policy of one proxy: a function of the present objects, scoped to what it may know."""

from typing import Any, NamedTuple

from injector.errors import ObjectError
from injector.model.metricaccess import grant_of, parse_metric_access, rule_of
from injector.model.objects import Object
from injector.model.settings import Platform
from injector.model.templates import label_rules
from injector.model.world import World
from sidecar.model.access import MAX_PATTERNS
from sidecar.model.labels import select_labels
from sidecar.model.policy import SCHEMA


class Scope(NamedTuple):
    """What a proxy may know: its namespace, and whether every namespace's labels."""

    namespace: str
    knows_all_labels: bool = False


def build_policy(world: World, scope: Scope, platform: Platform) -> dict[str, Any]:
    """Write the policy document of a scope.

    Args:
        world: what is known of the cluster.
        scope: whom it is for.
        platform: the platform's settings.
    """
    namespace = world.namespace(scope.namespace)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "namespace": scope.namespace,
        "labels": {} if namespace is None else select_labels(namespace.labels, platform.labels),
        "labelRules": label_rules(platform),
        "metricRelabelings": list(platform.metric_relabelings),
        "access": build_access(world, scope.namespace, platform),
    }
    if scope.knows_all_labels:
        document["namespaces"] = {
            item.name: select_labels(item.labels, platform.labels) for item in world.namespaces()
        }
    return document


def _count_patterns(obj: Object) -> int:
    spec = obj.get("spec")
    metrics = spec.get("metrics") if isinstance(spec, dict) else None
    return len(metrics) if isinstance(metrics, list) else 0


def build_access(world: World, namespace: str, platform: Platform) -> list[dict[str, Any]]:
    """Write a namespace's access rules, by object name, up to `MAX_PATTERNS` patterns in all."""
    rules = []
    patterns = 0
    for obj in world.in_namespace("MetricAccess", namespace):
        patterns += _count_patterns(obj)
        if patterns > MAX_PATTERNS:
            break  # what is left out grants nothing
        try:
            access = parse_metric_access(obj)
        except ObjectError:
            continue  # without a name there is nothing to grant to
        rule = rule_of(access, grant_of(access, world.namespace(namespace), platform))
        if rule is not None:
            rules.append(rule)
    return rules

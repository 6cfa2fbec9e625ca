"""What comes of a namespace's MetricAccess objects: for policies, logs and status alike."""

from typing import Any, NamedTuple

from injector.errors import ObjectError
from injector.model.access.metricaccess import (
    Acceptance,
    Grant,
    MetricAccess,
    grant_of,
    parse_metric_access,
    rule_of,
)
from injector.model.cluster.objects import Object
from injector.model.cluster.state import ClusterState, Key
from injector.platform import Platform
from sidecar.model.access.rules import MAX_PATTERNS

MAX_ACCESS_BYTES = 2 << 20
"""Of a namespace's objects together: a policy must stay within what a proxy reads."""


class AccessVerdict(NamedTuple):
    """One object; `metric_access` and `grant` are None where it was not even read."""

    name: str
    metric_access: MetricAccess | None
    grant: Grant | None
    left_out: str
    """Why it was not read, in one clause; empty where it was."""

    @property
    def acceptance(self) -> Acceptance:
        """Whether its rules are in force."""
        return Acceptance.INVALID if self.metric_access is None else self.metric_access.acceptance

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as its author meant it, a clause each."""
        if self.metric_access is None or self.grant is None:
            return (self.left_out,)
        patterns = [
            f"pattern {fact.pattern[:200]!r}: {fact.note}"
            for fact in self.metric_access.patterns
            if not fact.is_valid
        ]
        others = (self.metric_access.error, self.grant.note, self.metric_access.remote_write_error)
        return (*filter(None, others), *patterns)


def judge_namespace(
    cluster: ClusterState, namespace: str, platform: Platform
) -> list[AccessVerdict]:
    """Judge the objects of a namespace, by name; what is over a bound is left out.

    Args:
        cluster: what is known of the cluster.
        namespace: its name.
        platform: the platform's settings, which grant.
    """
    verdict = []
    patterns = size = 0
    for name, obj in cluster.named("MetricAccess", namespace):
        patterns += _count_patterns(obj)
        if patterns > MAX_PATTERNS:
            reason = f"the namespace has more than {MAX_PATTERNS} patterns; this object is left out"
            verdict.append(AccessVerdict(name, None, None, reason))
            continue
        try:
            access = cluster.derive(Key("MetricAccess", namespace, name), parse_metric_access)
        except ObjectError as error:
            verdict.append(AccessVerdict(name, None, None, str(error)))
            continue
        size += access.spec_bytes
        if size > MAX_ACCESS_BYTES:
            reason = f"the namespace's objects are over {MAX_ACCESS_BYTES >> 20} MiB; left out"
            verdict.append(AccessVerdict(name, None, None, reason))
            continue
        grant = grant_of(access, cluster.namespace(namespace), platform)
        verdict.append(AccessVerdict(name, access, grant, ""))
    return verdict


def build_access(cluster: ClusterState, namespace: str, platform: Platform) -> list[dict[str, Any]]:
    """Write a namespace's rules as a policy carries them; what is not in force grants nothing."""
    rules = [
        rule_of(item.metric_access, item.grant)
        for item in judge_namespace(cluster, namespace, platform)
        if item.metric_access is not None and item.grant is not None
    ]
    return [rule for rule in rules if rule is not None]


def _count_patterns(obj: Object) -> int:
    spec = obj.get("spec")
    metrics = spec.get("metrics") if isinstance(spec, dict) else None
    return len(metrics) if isinstance(metrics, list) else 0

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
from injector.model.cluster.state import Key, World
from injector.platform import Platform
from sidecar.model.access.rules import MAX_PATTERNS

MAX_ACCESS_BYTES = 2 << 20
"""Of a namespace's objects together: a policy must stay within what a proxy reads."""


class Judged(NamedTuple):
    """One object; `access` and `grant` are None where it was not even read."""

    name: str
    access: MetricAccess | None
    grant: Grant | None
    left_out: str
    """Why it was not read, in one clause; empty where it was."""

    @property
    def acceptance(self) -> Acceptance:
        """Whether its rules are in force."""
        return Acceptance.INVALID if self.access is None else self.access.acceptance

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as its author meant it, a clause each."""
        if self.access is None or self.grant is None:
            return (self.left_out,)
        patterns = [
            f"pattern {fact.pattern[:200]!r}: {fact.note}"
            for fact in self.access.patterns
            if not fact.is_valid
        ]
        others = (self.access.error, self.grant.note, self.access.remote_write_error)
        return (*filter(None, others), *patterns)


def judge_namespace(world: World, namespace: str, platform: Platform) -> list[Judged]:
    """Judge the objects of a namespace, by name; what is over a bound is left out.

    Args:
        world: what is known of the cluster.
        namespace: its name.
        platform: the platform's settings, which grant.
    """
    judged = []
    patterns = size = 0
    for name, obj in world.named("MetricAccess", namespace):
        patterns += _count_patterns(obj)
        if patterns > MAX_PATTERNS:
            reason = f"the namespace has more than {MAX_PATTERNS} patterns; this object is left out"
            judged.append(Judged(name, None, None, reason))
            continue
        try:
            access = world.derive(Key("MetricAccess", namespace, name), parse_metric_access)
        except ObjectError as error:
            judged.append(Judged(name, None, None, str(error)))
            continue
        size += access.spec_bytes
        if size > MAX_ACCESS_BYTES:
            reason = f"the namespace's objects are over {MAX_ACCESS_BYTES >> 20} MiB; left out"
            judged.append(Judged(name, None, None, reason))
            continue
        grant = grant_of(access, world.namespace(namespace), platform)
        judged.append(Judged(name, access, grant, ""))
    return judged


def build_access(world: World, namespace: str, platform: Platform) -> list[dict[str, Any]]:
    """Write a namespace's rules as a policy carries them; what is not in force grants nothing."""
    rules = [
        rule_of(item.access, item.grant)
        for item in judge_namespace(world, namespace, platform)
        if item.access is not None and item.grant is not None
    ]
    return [rule for rule in rules if rule is not None]


def _count_patterns(obj: Object) -> int:
    spec = obj.get("spec")
    metrics = spec.get("metrics") if isinstance(spec, dict) else None
    return len(metrics) if isinstance(metrics, list) else 0

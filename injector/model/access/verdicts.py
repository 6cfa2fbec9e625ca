"""What comes of a namespace's MetricAccess objects: for policies, logs and status alike."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from injector.errors import ObjectError
from injector.model.access.forwarding import NOT_ASKED, ForwardingPlan, plan_forwarding
from injector.model.access.metricaccess import MetricAccess, judge_grant, parse_metric_access
from injector.model.access.reasons import ReadyReason
from injector.model.cluster.objects import Object
from injector.model.cluster.state import ClusterState, Key
from injector.platform.settings import Collect, Platform
from sidecar.model.access.objects import Acceptance, Grant, rule_of
from sidecar.model.access.rules import MAX_PATTERNS
from sidecar.model.policy.forward import MAX_ALL_RECEIVERS, MAX_RULES

MAX_ACCESS_BYTES = 2 << 20
"""Of a namespace's objects together: a policy must stay within what a proxy reads."""


class AccessVerdict(NamedTuple):
    """One object; `metric_access` and `grant` are None where it was not even read."""

    name: str
    metric_access: MetricAccess | None
    grant: Grant | None
    left_out: str
    """Why it was not read, in one clause; empty where it was."""
    forwarding: ForwardingPlan = NOT_ASKED
    """What it sends, or why it does not."""

    @property
    def acceptance(self) -> Acceptance:
        """Whether its rules are in force."""
        return Acceptance.INVALID if self.metric_access is None else self.metric_access.acceptance

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as its author meant it, a clause each."""
        if self.metric_access is None or self.grant is None:
            return (self.left_out,)
        patterns = self.metric_access.pattern_problems
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
    patterns = size = sending = receivers = 0
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
        grant = judge_grant(access, cluster.namespace(namespace), platform)
        forwarding = plan_forwarding(access, grant, cluster, platform)
        if forwarding.rule is not None and forwarding.receivers is not None:
            sending, receivers = sending + 1, receivers + len(forwarding.receivers.addresses)
            if sending > MAX_RULES or receivers > MAX_ALL_RECEIVERS:
                text = (
                    f"nothing is sent: {MAX_RULES} objects of a namespace may send, to "
                    f"{MAX_ALL_RECEIVERS} receivers in all"
                )
                forwarding = forwarding.kept_back(ReadyReason.TOO_MANY, text)
        verdict.append(AccessVerdict(name, access, grant, "", forwarding))
    return verdict


def build_access(cluster: ClusterState, namespace: str, platform: Platform) -> list[dict[str, Any]]:
    """Write a namespace's rules as a policy carries them; what is not in force grants nothing."""
    return write_access(judge_namespace(cluster, namespace, platform))


def write_access(verdicts: Iterable[AccessVerdict]) -> list[dict[str, Any]]:
    """Write the rules of objects as a policy carries them."""
    rules = [
        rule_of(item.metric_access, item.grant)
        for item in verdicts
        if item.metric_access is not None and item.grant is not None
    ]
    return [rule for rule in rules if rule is not None]


def sending_by(verdicts: Iterable[AccessVerdict], collect: Collect) -> dict[str, ForwardingPlan]:
    """Return the plans that some part of Livery carries out, by the names of their objects."""
    return {
        item.name: item.forwarding
        for item in verdicts
        if item.forwarding.rule is not None and item.forwarding.collect is collect
    }


def _count_patterns(obj: Object) -> int:
    spec = obj.get("spec")
    metrics = spec.get("metrics") if isinstance(spec, dict) else None
    return len(metrics) if isinstance(metrics, list) else 0

"""Evaluates a namespace's MetricAccess objects, for policies, logs and status alike."""

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
"""Total size of a namespace's objects: a policy must stay within the proxy's size limit."""


class AccessVerdict(NamedTuple):
    """The verdict on one object; `metric_access` and `grant` are None if it is ignored."""

    name: str
    metric_access: MetricAccess | None
    grant: Grant | None
    left_out: str
    """Why the object is ignored, in one clause; empty if it is not."""
    forwarding: ForwardingPlan = NOT_ASKED
    """What the object sends, or why it sends nothing."""

    @property
    def acceptance(self) -> Acceptance:
        """Whether its rules are active."""
        return Acceptance.INVALID if self.metric_access is None else self.metric_access.acceptance

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work as written, one clause each."""
        if self.metric_access is None or self.grant is None:
            return (self.left_out,)
        patterns = self.metric_access.pattern_problems
        others = (self.metric_access.error, self.grant.note, self.metric_access.remote_write_error)
        return (*filter(None, others), *patterns)


def judge_namespace(
    cluster: ClusterState, namespace: str, platform: Platform
) -> list[AccessVerdict]:
    """Evaluate the objects of a namespace by name; those beyond a limit are ignored.

    Args:
        cluster: the cluster's state.
        namespace: the namespace's name.
        platform: the platform's settings, with its grants.
    """
    verdict = []
    patterns = size = sending = receivers = 0
    for name, obj in cluster.named("MetricAccess", namespace):
        patterns += _count_patterns(obj)
        if patterns > MAX_PATTERNS:
            reason = f"the namespace has more than {MAX_PATTERNS} patterns; this object is ignored"
            verdict.append(AccessVerdict(name, None, None, reason))
            continue
        try:
            access = cluster.derive(Key("MetricAccess", namespace, name), parse_metric_access)
        except ObjectError as error:
            verdict.append(AccessVerdict(name, None, None, str(error)))
            continue
        size += access.spec_bytes
        if size > MAX_ACCESS_BYTES:
            reason = f"the namespace's objects exceed {MAX_ACCESS_BYTES >> 20} MiB; ignored"
            verdict.append(AccessVerdict(name, None, None, reason))
            continue
        grant = judge_grant(access, cluster.namespace(namespace), platform)
        forwarding = plan_forwarding(access, grant, cluster, platform)
        if forwarding.rule is not None and forwarding.receivers is not None:
            sending, receivers = sending + 1, receivers + len(forwarding.receivers.addresses)
            if sending > MAX_RULES or receivers > MAX_ALL_RECEIVERS:
                text = (
                    f"nothing is sent: at most {MAX_RULES} objects of a namespace may send, to "
                    f"at most {MAX_ALL_RECEIVERS} receivers in total"
                )
                forwarding = forwarding.kept_back(ReadyReason.TOO_MANY, text)
        verdict.append(AccessVerdict(name, access, grant, "", forwarding))
    return verdict


def build_access(cluster: ClusterState, namespace: str, platform: Platform) -> list[dict[str, Any]]:
    """Return a namespace's rules in the format of a policy; inactive ones are left out."""
    return write_access(judge_namespace(cluster, namespace, platform))


def write_access(verdicts: Iterable[AccessVerdict]) -> list[dict[str, Any]]:
    """Return the rules of objects in the format of a policy."""
    rules = [
        rule_of(item.metric_access, item.grant)
        for item in verdicts
        if item.metric_access is not None and item.grant is not None
    ]
    return [rule for rule in rules if rule is not None]


def sending_by(verdicts: Iterable[AccessVerdict], collect: Collect) -> dict[str, ForwardingPlan]:
    """Return the plans that `collect` carries out, by object name."""
    return {
        item.name: item.forwarding
        for item in verdicts
        if item.forwarding.rule is not None and item.forwarding.collect is collect
    }


def _count_patterns(obj: Object) -> int:
    spec = obj.get("spec")
    metrics = spec.get("metrics") if isinstance(spec, dict) else None
    return len(metrics) if isinstance(metrics, list) else 0

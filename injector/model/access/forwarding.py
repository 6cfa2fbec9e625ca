"""Plans an object's `remoteWrite`: a rule for a policy, or the reason why nothing is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from injector.errors import ObjectError
from injector.model.access.metricaccess import MetricAccess
from injector.model.access.reasons import ReadyReason
from injector.model.access.receivers import Receivers, read_receivers
from injector.model.access.secrets import read_secrets
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Collect, Platform
from sidecar.errors import RuleError
from sidecar.model.access.objects import Grant, rule_of
from sidecar.model.fields import Fields
from sidecar.model.policy.forward import parse_way


@dataclass(frozen=True, kw_only=True)
class ForwardingPlan:
    """What an object sends."""

    sending: Mapping[str, Any] | None = None
    """The rule in a policy's format, even if nothing is sent; None if there is no valid one."""
    receivers: Receivers | None = None
    """Where it sends; None if there is no valid target."""
    collect: Collect = Collect.PROXIES
    """Which component sends it."""
    credentials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Credentials for its receivers, in the format of a policy."""
    reason: ReadyReason | None = None
    """Why nothing is sent; None if nothing prevents it."""
    message: str = ""

    @property
    def rule(self) -> Mapping[str, Any] | None:
        """The rule for the policy; None if nothing is sent."""
        return self.sending if self.reason is None else None

    def kept_back(self, reason: ReadyReason, message: str) -> "ForwardingPlan":
        """Return a copy that sends nothing."""
        return replace(self, reason=reason, message=message, credentials={})


NOT_ASKED = ForwardingPlan()
_NO_COLLECTOR = (
    "nothing is sent: no collector runs (the platform must set remoteWrite.collector.enabled)"
)


def plan_forwarding(
    access: MetricAccess, grant: Grant, cluster: ClusterState, platform: Platform
) -> ForwardingPlan:
    """Plan what an object sends.

    Args:
        access: the object.
        grant: the namespaces that it may read.
        cluster: the cluster's state, including Secrets.
        platform: the platform's settings.
    """
    remote = access.remote_write
    if remote is None or not remote.enabled:
        return NOT_ASKED
    settings = platform.remote_write
    collect = next((one for one in Collect if one == remote.collect), settings.collect)
    # A proxy sends for its own namespace only, whatever else is granted.
    own = Grant(frozenset([access.namespace]), "")
    rule = rule_of(access, own if collect is Collect.PROXIES else grant)
    if rule is None:
        return NOT_ASKED
    plan = ForwardingPlan(collect=collect)
    try:
        receivers = read_receivers(access, remote, platform)
        sending = {
            "access": rule,
            "intervalSeconds": remote.interval_seconds,
            "extraLabels": {**_usual_labels(access.namespace, platform), **remote.extra_labels},
            "honorLabels": remote.honor_labels,
            "receivers": list(receivers.addresses),
        }
        # Validate as the proxies do, so that the object's status shows what they would refuse.
        parse_way(Fields(sending, "spec.remoteWrite"))
    except (ObjectError, RuleError) as error:
        return plan.kept_back(ReadyReason.INVALID_TARGET, f"nothing is sent: {error}")
    plan = replace(plan, sending=sending, receivers=receivers)
    if collect is Collect.PROMETHEUS and not platform.collectors:
        return plan.kept_back(ReadyReason.NO_COLLECTOR, _NO_COLLECTOR)
    secrets = read_secrets(
        cluster, access.namespace, receivers.secrets, origin=receivers.origin, platform=platform
    )
    if secrets.reason is not None:
        return plan.kept_back(secrets.reason, f"nothing is sent: {secrets.message}")
    return replace(plan, credentials=secrets.credentials)


def _usual_labels(namespace: str, platform: Platform) -> dict[str, str]:
    """Return the labels that the platform adds to what a namespace's objects send."""
    usual = platform.remote_write.default_extra_labels
    return {name: text.replace("{namespace}", namespace) for name, text in usual.items()}

"""What comes of an object's `remoteWrite`: a rule of somebody's policy, or why nothing is sent."""

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
    """As a policy has it, even where something keeps it from sending; None where it is wrong."""
    receivers: Receivers | None = None
    """Where it sends; None where that is wrong."""
    collect: Collect = Collect.PROXIES
    """By whom it is sent."""
    credentials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """That its receivers need, as the policy has them."""
    reason: ReadyReason | None = None
    """What keeps it from sending; None where nothing does."""
    message: str = ""

    @property
    def rule(self) -> Mapping[str, Any] | None:
        """For the policy; None where nothing is sent."""
        return self.sending if self.reason is None else None

    def kept_back(self, reason: ReadyReason, message: str) -> "ForwardingPlan":
        """Return the same, of which nothing is sent."""
        return replace(self, reason=reason, message=message, credentials={})


NOT_ASKED = ForwardingPlan()
_NO_COLLECTOR = (
    "nothing is sent: no collector runs (the platform sets remoteWrite.collector.enabled)"
)


def plan_forwarding(
    access: MetricAccess, grant: Grant, cluster: ClusterState, platform: Platform
) -> ForwardingPlan:
    """Plan what an object sends.

    Args:
        access: the object.
        grant: where it may read.
        cluster: what is known of the cluster: its Secrets.
        platform: the platform's settings.
    """
    remote = access.remote_write
    if remote is None or not remote.enabled:
        return NOT_ASKED
    settings = platform.remote_write
    collect = next((one for one in Collect if one == remote.collect), settings.collect)
    # A proxy speaks for its own namespace alone, whatever was granted besides.
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
        # As the proxies will: what they would refuse is to be said here, where its author looks.
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

"""Builds the status of a MetricAccess object, which its author reads with kubectl."""

from collections.abc import Mapping
from typing import Any

from injector.model.access.forwarding import ForwardingPlan
from injector.model.access.reasons import ReadyReason
from injector.model.access.sending import NOTHING_SENT, SendingFacts
from injector.model.access.verdicts import AccessVerdict
from injector.platform.settings import Collect
from sidecar.model.access.objects import Acceptance

_MAX_MESSAGE = 1000
_MAX_NOTE = 200
_MAX_UNMATCHED = 5
_LAG_SECONDS = 120.0
"""Maximum lag of a ready object, or four intervals if that is longer."""
_MAX_PATTERNS = 100
"""Patterns that the status shows; an object may have a thousand."""


def build_status(
    verdict: AccessVerdict,
    before: Mapping[str, Any],
    now: str,
    facts: SendingFacts = NOTHING_SENT,
    *,
    sent_at: str = "",
) -> dict[str, Any]:
    """Build an object's status.

    Args:
        verdict: the verdict on the object.
        before: its current status: an unchanged condition keeps its transition time.
        now: transition time of changed conditions, RFC 3339.
        facts: the state of its sending.
        sent_at: when a receiver last accepted samples, RFC 3339; empty for never.
    """
    generation = 0 if verdict.metric_access is None else verdict.metric_access.generation
    times = {
        item.get("type"): (item.get("status"), item.get("lastTransitionTime"))
        for item in before.get("conditions") or ()
        if isinstance(item, dict)
    }

    def condition(kind: str, *, is_true: bool, reason: str, message: str) -> dict[str, Any]:
        status = "True" if is_true else "False"
        known, since = times.get(kind, ("", None))
        return {
            "type": kind,
            "status": status,
            "reason": str(reason),
            "message": message[:_MAX_MESSAGE],
            "lastTransitionTime": since if since and known == status else now,
            "observedGeneration": generation,
        }

    is_accepted = verdict.acceptance is not Acceptance.INVALID
    message = "; ".join(verdict.problems) or "the object is fully active"
    reason = str(verdict.acceptance)
    conditions = [
        condition("Accepted", is_true=is_accepted, reason=reason, message=message),
        condition("Ready", **_readiness(verdict, facts, is_accepted=is_accepted)),
    ]
    status: dict[str, Any] = {"observedGeneration": generation, "conditions": conditions}
    if verdict.metric_access is not None:
        status["patterns"] = [
            {"pattern": fact.pattern, "kind": fact.kind or "invalid", "note": fact.note[:_MAX_NOTE]}
            for fact in verdict.metric_access.patterns[:_MAX_PATTERNS]
        ]
    if verdict.forwarding.rule is not None:
        status["remoteWrite"] = _write_facts(facts, sent_at)
    return status


def _readiness(verdict: AccessVerdict, facts: SendingFacts, *, is_accepted: bool) -> dict[str, Any]:
    if verdict.metric_access is None or not is_accepted:
        return {
            "is_true": False,
            "reason": ReadyReason.NOT_ACCEPTED,
            "message": "no part of the object is active",
        }
    plan = verdict.forwarding
    if plan.reason is not None:
        return {"is_true": False, "reason": plan.reason, "message": plan.message}
    if plan.rule is None:
        message = "its read rules are active"
        return {"is_true": True, "reason": ReadyReason.IN_FORCE, "message": message}
    reason, message = _judge_sending(plan, facts)
    return {"is_true": reason is ReadyReason.IN_FORCE, "reason": reason, "message": message}


def _judge_sending(plan: ForwardingPlan, facts: SendingFacts) -> tuple[ReadyReason, str]:
    """Return the state of sending as a reason and a message."""
    is_pulled = plan.collect is Collect.PROMETHEUS
    if not facts.senders:
        if is_pulled:
            return ReadyReason.NOT_SENT_YET, "no collector has reported sending this object"
        message = "no proxy of this namespace has reported sending this: is a pod injected?"
        return ReadyReason.NOT_SUPPLIED, message
    if facts.error:
        return ReadyReason.SENDING_FAILS, facts.error
    if facts.unmatched and not is_pulled:
        shown = ", ".join(facts.unmatched[:_MAX_UNMATCHED])
        message = (
            f"no proxy of this namespace has series for: {shown}; collect: prometheus reads "
            "them from the platform's Prometheus"
        )
        return ReadyReason.NOT_SUPPLIED, message
    interval = plan.rule["intervalSeconds"] if plan.rule else 0.0
    if facts.lag_seconds > max(_LAG_SECONDS, 4 * interval):
        return ReadyReason.LAGGING, f"the oldest queued sample is {facts.lag_seconds:.0f} s old"
    sent = f"{facts.senders} {'collectors' if is_pulled else 'proxies'} send {facts.series} series"
    return ReadyReason.IN_FORCE, f"its read rules are active, and {sent}"


def _write_facts(facts: SendingFacts, sent_at: str) -> dict[str, Any]:
    written: dict[str, Any] = {
        "senders": facts.senders,
        "series": facts.series,
        "samplesSent": facts.sent,
        "samplesFailed": facts.failed,
        "samplesDropped": facts.dropped,
        "samplesWaiting": facts.waiting,
        "lagSeconds": round(facts.lag_seconds),
    }
    if sent_at:
        written["lastSendTime"] = sent_at
    if facts.error:
        written["lastError"] = facts.error[:_MAX_NOTE]
    return written

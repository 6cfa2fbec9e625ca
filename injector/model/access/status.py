"""The status of a MetricAccess object, as its author reads it with kubectl."""

from collections.abc import Mapping
from typing import Any

from injector.model.access.metricaccess import Acceptance
from injector.model.access.verdicts import AccessVerdict

_MAX_MESSAGE = 1000
_MAX_NOTE = 200
_MAX_PATTERNS = 100
"""Of the patterns' facts; an object may have a thousand."""
_FORWARDING = "ForwardingNotAvailable"


def build_status(verdict: AccessVerdict, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Write an object's status.

    Args:
        verdict: what comes of it.
        before: its present status: a condition that stays keeps its time.
        now: the time of conditions that change, RFC 3339.
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
            "reason": reason,
            "message": message[:_MAX_MESSAGE],
            "lastTransitionTime": since if since and known == status else now,
            "observedGeneration": generation,
        }

    is_accepted = verdict.acceptance is not Acceptance.INVALID
    message = "; ".join(verdict.problems) or "all of it is in force"
    reason = str(verdict.acceptance)
    conditions = [
        condition("Accepted", is_true=is_accepted, reason=reason, message=message),
        condition("Ready", **_readiness(verdict, is_accepted=is_accepted)),
    ]
    status: dict[str, Any] = {"observedGeneration": generation, "conditions": conditions}
    if verdict.metric_access is not None:
        status["patterns"] = [
            {"pattern": fact.pattern, "kind": fact.kind or "invalid", "note": fact.note[:_MAX_NOTE]}
            for fact in verdict.metric_access.patterns[:_MAX_PATTERNS]
        ]
    return status


def _readiness(verdict: AccessVerdict, *, is_accepted: bool) -> dict[str, Any]:
    if verdict.metric_access is None or not is_accepted:
        return {"is_true": False, "reason": "NotAccepted", "message": "nothing of it is in force"}
    remote = verdict.metric_access.remote_write
    if remote is not None and remote.enabled:
        text = "its reading rules are in force; this version of Livery does not send series yet"
        return {"is_true": False, "reason": _FORWARDING, "message": text}
    return {"is_true": True, "reason": "InForce", "message": "its reading rules are in force"}

"""Reports of a proxy to the control service."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sidecar import VERSION
from sidecar.control.client import ControlClient
from sidecar.control.sending import (
    COLLECTOR_REPORT_BYTES,
    POD_REPORT_BYTES,
    Sending,
    report_sending,
)
from sidecar.model.targets import MAX_TARGETS
from sidecar.process.memory import resident_bytes

_TEXT_CHARACTERS = 200
_MAX_FAULTS = 8


class TargetState(NamedTuple):
    """Result of a target's last scrape; `error` is empty if it succeeded."""

    url: str
    error: str
    samples: int
    is_silent: bool = False
    """Whether the target was guessed and never answered."""


class ProxyState(NamedTuple):
    """State of a proxy for a report."""

    role: str
    faults: Sequence[str]
    targets: Sequence[TargetState]
    samples: int
    """Samples exposed by the last scrapes."""
    notes: Sequence[str] = ()
    """Recent events, as sentences."""
    sending: Sequence[Sending] = ()
    """State of forwarding, for each rule."""


def build_report(
    state: ProxyState, control: ControlClient[Any] | None, policy_age_seconds: float
) -> dict[str, object]:
    """Build a report of bounded size: long texts and lists are truncated."""
    return {
        "role": state.role,
        "proxyVersion": VERSION,
        "policyVersion": control.version[:_TEXT_CHARACTERS] if control else "",
        "policyError": control.policy_error[:_TEXT_CHARACTERS] if control else "",
        "policyIgnored": [text[:_TEXT_CHARACTERS] for text in control.ignored[:_MAX_FAULTS]]
        if control
        else [],
        "faults": [fault[:_TEXT_CHARACTERS] for fault in state.faults[:_MAX_FAULTS]],
        "targets": [
            {
                "url": target.url[:_TEXT_CHARACTERS],
                "up": not target.error,
                "error": target.error[:_TEXT_CHARACTERS],
                "samples": target.samples,
                **({"guess": True} if target.is_silent else {}),
            }
            for target in state.targets[:MAX_TARGETS]
        ],
        "samples": state.samples,
        **(
            {"notes": [note[:_TEXT_CHARACTERS] for note in state.notes[:_MAX_FAULTS]]}
            if state.notes
            else {}
        ),
        **_write_sending(state),
        "policyAgeSeconds": round(policy_age_seconds, 3),
        "residentBytes": resident_bytes(),
    }


def _write_sending(state: ProxyState) -> dict[str, object]:
    if not state.sending:
        return {}
    limit = POD_REPORT_BYTES if state.role == "pod" else COLLECTOR_REPORT_BYTES
    return {"sending": report_sending(state.sending, limit)}

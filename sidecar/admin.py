"""What every role says of itself: on its admin port, and to the control service."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sidecar import VERSION
from sidecar.control import ControlClient
from sidecar.messages import Response, plain
from sidecar.model.targets import MAX_TARGETS
from sidecar.process import resident_bytes

_TEXT_BYTES = 200
_MAX_FAULTS = 8


class TargetState(NamedTuple):
    """How the last scrape of a target went; `error` is empty where it went well."""

    url: str
    error: str
    samples: int


class State(NamedTuple):
    """What a proxy reports of itself."""

    role: str
    faults: Sequence[str]
    targets: Sequence[TargetState]
    samples: int
    """Exposed by the last scrapes."""
    policy_age_seconds: float


def answer_admin(path: str, unready: str, render_metrics: Callable[[], bytes]) -> Response:
    """Answer on the admin port.

    Args:
        path: what is asked for.
        unready: why scrapes are refused; empty where they are not.
        render_metrics: writes the proxy's own metrics.
    """
    if path == "/healthz":
        return plain(200, "ok")
    if path == "/readyz":
        return plain(503, unready) if unready else plain(200, "ok")
    if path == "/metrics":
        return Response(200, render_metrics(), "text/plain; version=0.0.4; charset=utf-8")
    return plain(404, "/metrics, /healthz and /readyz are served here")


def build_report(state: State, control: ControlClient | None) -> dict[str, object]:
    """Write what the control service is told: bounded, however long an error is."""
    return {
        "role": state.role,
        "proxyVersion": VERSION,
        "policyVersion": control.version if control else "",
        "policyError": control.policy_error[:_TEXT_BYTES] if control else "",
        "faults": [fault[:_TEXT_BYTES] for fault in state.faults[:_MAX_FAULTS]],
        "targets": [
            {
                "url": target.url[:_TEXT_BYTES],
                "up": not target.error,
                "error": target.error[:_TEXT_BYTES],
                "samples": target.samples,
            }
            for target in state.targets[:MAX_TARGETS]
        ],
        "samples": state.samples,
        "policyAgeSeconds": round(state.policy_age_seconds, 3),
        "residentBytes": resident_bytes(),
    }

"""A gateway's own metrics, served on its admin port."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from sidecar import VERSION
from sidecar.control.sending import sending_families
from sidecar.control.source import policy_families
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.process.histograms import Histogram
from sidecar.process.metrics import PROCESS_FAMILIES, Family, Telemetry, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_gateway"
DURATION = "prometheus_proxy_request_duration_seconds"
DURATION_HELP = "Time from a request to the start of its response."
METRICS = (
    build_info(PREFIX),
    Family(
        "counter",
        "prometheus_proxy_requests_total",
        "Requests answered, by path and status.",
        ("path", "code"),
    ),
    Family(
        "counter",
        "prometheus_proxy_backend_requests_total",
        "Requests to backends, by backend and status.",
        ("backend", "code"),
    ),
    Family("gauge", "prometheus_proxy_targets_discovered", "Known backends."),
    Family("gauge", "prometheus_proxy_tenants_active", "Tenants that have access rules."),
    Family("counter", "livery_gateway_refused_total", "Requests refused, by reason.", ("reason",)),
    Family("gauge", "livery_gateway_backend_up", "Whether the backend is up.", ("backend",)),
    *policy_families(PREFIX),
    *readiness_families(PREFIX),
    *sending_families(PREFIX),
    *PROCESS_FAMILIES,
)
MAX_NOTES = 8
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class GatewayMetrics:
    """Counts requests, refusals and backend requests.

    Args:
        on_refusal: called with each refusal.
    """

    def __init__(self, on_refusal: Callable[[], None] = lambda: None) -> None:
        self._on_refusal = on_refusal
        self.telemetry = Telemetry(METRICS)
        self.telemetry.set(f"{PREFIX}_build_info", 1, version=VERSION)
        self._seconds = Histogram(DURATION, DURATION_HELP, "path", _SECONDS)
        self._refusals: OrderedDict[str, float] = OrderedDict()
        """Refusals, and when each occurred last, as Unix time."""
        for cause in Cause:
            self.telemetry.add("livery_gateway_refused_total", 0, reason=cause)

    def answered(self, path: str, status: int, seconds: float, refusal: Refusal | None) -> None:
        """Count a response; `refusal` is None unless the request was refused."""
        self.telemetry.add("prometheus_proxy_requests_total", path=path, code=str(status))
        self._seconds.observe(path, seconds)
        if refusal is not None:
            self.telemetry.add("livery_gateway_refused_total", reason=refusal.cause)
            self._note(path, refusal)
            self._on_refusal()

    def _note(self, path: str, refusal: Refusal) -> None:
        """Keep a refusal among the latest ones; equal ones are kept once."""
        text = f"{refusal.status} {refusal.cause}: {refusal} ({path})"
        self._refusals.pop(text, None)
        self._refusals[text] = time.time()
        while len(self._refusals) > MAX_NOTES:
            self._refusals.popitem(last=False)

    def notes(self) -> list[str]:
        """Return the latest refusals, newest first."""
        return [
            f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC {text}"
            for text, at in reversed(self._refusals.items())
        ]

    def asked(self, url: str, status: int) -> None:
        """Count a request to a backend."""
        self.telemetry.add("prometheus_proxy_backend_requests_total", backend=url, code=str(status))

    def render(self, backends: BackendGroup, tenants: int) -> bytes:
        """Write all metrics in text format."""
        put = self.telemetry.set
        put("prometheus_proxy_targets_discovered", len(backends.backends))
        put("prometheus_proxy_tenants_active", tenants)
        self.telemetry.clear("livery_gateway_backend_up")
        for backend in backends.backends:
            put("livery_gateway_backend_up", int(backend.is_up), backend=backend.url)
        return self.telemetry.render() + self._seconds.render()

"""A pod proxy's own metrics, served on its admin port."""

from sidecar.control.sending import sending_families
from sidecar.control.source import policy_families
from sidecar.process.metrics import PROCESS_FAMILIES, Family, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_proxy"
METRICS = (
    build_info(PREFIX),
    Family("counter", "livery_proxy_scrapes_total", "Scrapes answered, by status.", ("code",)),
    Family("counter", "livery_proxy_scrape_duration_seconds_total", "Time spent on scrapes."),
    Family("gauge", "livery_proxy_samples", "Samples in the last response."),
    Family(
        "counter",
        "livery_proxy_series_left_out_total",
        "Series omitted because the client's escaping makes them equal to another.",
    ),
    Family(
        "gauge",
        "livery_proxy_target_up",
        "Whether the target's last scrape succeeded.",
        ("target",),
    ),
    Family("gauge", "livery_proxy_remembered_bytes", "Size of the series cache."),
    *policy_families(PREFIX),
    *readiness_families(PREFIX),
    Family(
        "gauge",
        "livery_proxy_control_age_seconds",
        "Time since the control service's last message.",
    ),
    Family("counter", "livery_proxy_control_failures_total", "Failures of the policy stream."),
    *sending_families(PREFIX),
    *PROCESS_FAMILIES,
)

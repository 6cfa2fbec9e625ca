"""Metrics that a pod's proxy has of itself, on its admin port."""

from sidecar.control.sending import sending_families
from sidecar.control.source import policy_families
from sidecar.process.metrics import PROCESS_FAMILIES, Family, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_proxy"
METRICS = (
    build_info(PREFIX),
    Family("counter", "livery_proxy_scrapes_total", "Scrapes answered, by status.", ("code",)),
    Family("counter", "livery_proxy_scrape_duration_seconds_total", "Time spent on scrapes."),
    Family("gauge", "livery_proxy_samples", "Samples in the last answer."),
    Family(
        "counter",
        "livery_proxy_series_left_out_total",
        "Series not exposed because, escaped for a client without UTF-8 names, they equal another.",
    ),
    Family("gauge", "livery_proxy_target_up", "Whether its last scrape succeeded.", ("target",)),
    Family("gauge", "livery_proxy_remembered_bytes", "Size of the series cache."),
    *policy_families(PREFIX),
    *readiness_families(PREFIX),
    Family("gauge", "livery_proxy_control_age_seconds", "Time since the control service spoke."),
    Family("counter", "livery_proxy_control_failures_total", "Times that the stream broke."),
    *sending_families(PREFIX),
    *PROCESS_FAMILIES,
)

"""An aggregate's own metrics, served on its admin port."""

from sidecar.control.source import policy_families
from sidecar.process.metrics import PROCESS_FAMILIES, Family, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_aggregate"
METRICS = (
    build_info(PREFIX),
    Family("counter", "livery_aggregate_scrapes_total", "Scrapes answered, by status.", ("code",)),
    Family("counter", "livery_aggregate_scrape_duration_seconds_total", "Time spent on scrapes."),
    Family("gauge", "livery_aggregate_samples", "Pods' samples in the last response."),
    Family(
        "gauge",
        "livery_aggregate_pods",
        "Running pods that match the selector and opt in to scraping.",
    ),
    Family(
        "gauge",
        "livery_aggregate_targets",
        "Targets of those pods, by state in the last scrape: up or down.",
        ("state",),
    ),
    Family(
        "gauge",
        "livery_aggregate_warned_pods",
        "Pods that opt in to scraping but cannot be scraped as annotated.",
    ),
    Family(
        "counter",
        "livery_aggregate_target_failures_total",
        "Failed target scrapes, by kind: connection, timeout, limit or exposition.",
        ("kind",),
    ),
    Family(
        "counter",
        "livery_aggregate_series_left_out_total",
        "Series omitted because the client's escaping makes them equal to another.",
    ),
    Family("gauge", "livery_aggregate_remembered_bytes", "Size of the series cache."),
    Family(
        "gauge",
        "livery_aggregate_pods_age_seconds",
        "Upper bound on the age of the pod list; 0 while it is watched.",
    ),
    Family(
        "counter", "livery_aggregate_watch_failures_total", "Failures to watch the list of pods."
    ),
    *policy_families(PREFIX),
    *readiness_families(PREFIX),
    *PROCESS_FAMILIES,
)

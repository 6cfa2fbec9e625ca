"""Metrics that an aggregate has of itself, on its admin port."""

from sidecar.control.source import policy_families
from sidecar.process.metrics import PROCESS_FAMILIES, Family, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_aggregate"
METRICS = (
    build_info(PREFIX),
    Family("counter", "livery_aggregate_scrapes_total", "Scrapes answered, by status.", ("code",)),
    Family("counter", "livery_aggregate_scrape_duration_seconds_total", "Time spent on scrapes."),
    Family("gauge", "livery_aggregate_samples", "Samples of pods in the last answer."),
    Family(
        "gauge",
        "livery_aggregate_pods",
        "Running pods that match the selector and ask to be scraped.",
    ),
    Family(
        "gauge",
        "livery_aggregate_targets",
        "Targets of those pods, by what the last scrape found: up or down.",
        ("state",),
    ),
    Family(
        "gauge",
        "livery_aggregate_warned_pods",
        "Pods that ask to be scraped and cannot be, or not as their annotations say.",
    ),
    Family(
        "counter",
        "livery_aggregate_target_failures_total",
        "Scrapes of targets that failed: connection, timeout, limit or exposition.",
        ("kind",),
    ),
    Family(
        "counter",
        "livery_aggregate_series_left_out_total",
        "Series not exposed because the client's escaping makes them equal to another.",
    ),
    Family("gauge", "livery_aggregate_remembered_bytes", "Size of the series cache."),
    Family(
        "gauge",
        "livery_aggregate_pods_age_seconds",
        "How old the list of pods may be; 0 while it is followed.",
    ),
    Family(
        "counter", "livery_aggregate_watch_failures_total", "Times that pods were not followed."
    ),
    *policy_families(PREFIX),
    *readiness_families(PREFIX),
    *PROCESS_FAMILIES,
)

"""Metrics that a node's proxy has of itself, on its admin port."""

from sidecar.control.source import policy_families
from sidecar.process.metrics import PROCESS_FAMILIES, Family, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_node"
METRICS = (
    build_info(PREFIX),
    Family(
        "counter", "livery_node_scrapes_total", "Scrapes that began, by status.",
        ("endpoint", "code"),
    ),
    Family(
        "counter", "livery_node_broken_scrapes_total",
        "Responses aborted because the kubelet's body was incomplete.", ("endpoint",),
    ),
    Family(
        "counter", "livery_node_series_left_out_total",
        "Series left out of an answer: two of their label names are the same once escaped.",
        ("endpoint",),
    ),
    Family("counter", "livery_node_scrape_duration_seconds_total", "Time spent.", ("endpoint",)),
    Family("gauge", "livery_node_samples", "Samples in the last whole answer.", ("endpoint",)),
    Family("gauge", "livery_node_remembered_bytes", "Size of the series caches."),
    Family("gauge", "livery_node_namespaces", "Namespaces whose labels are known."),
    Family("gauge", "livery_node_kubelets", "Kubelets that can be scraped here."),
    Family("gauge", "livery_node_pods_up", "Whether the last list of pods could be read."),
    Family("gauge", "livery_node_discovery_up", "Whether the last discovery of targets worked."),
    Family("gauge", "livery_node_kubelet_tls_verified", "Whether the kubelet is verified."),
    *readiness_families(PREFIX),
    *policy_families(PREFIX),
    *PROCESS_FAMILIES,
)  # fmt: skip

"""A node proxy's own metrics, served on its admin port."""

from sidecar.control.source import policy_families
from sidecar.process.metrics import PROCESS_FAMILIES, Family, build_info
from sidecar.process.readiness import readiness_families

PREFIX = "livery_node"
METRICS = (
    build_info(PREFIX),
    Family(
        "counter", "livery_node_scrapes_total",
        "Scrapes by status, counted when the response starts.", ("endpoint", "code"),
    ),
    Family(
        "counter", "livery_node_broken_scrapes_total",
        "Responses aborted because the kubelet's body was incomplete.", ("endpoint",),
    ),
    Family(
        "counter", "livery_node_series_left_out_total",
        "Series omitted because two of their label names are equal after escaping.",
        ("endpoint",),
    ),
    Family(
        "counter", "livery_node_scrape_duration_seconds_total",
        "Time spent streaming kubelet responses to clients.", ("endpoint",),
    ),
    Family("gauge", "livery_node_samples", "Samples in the last complete response.", ("endpoint",)),
    Family("gauge", "livery_node_remembered_bytes", "Size of the series caches."),
    Family("gauge", "livery_node_namespaces", "Namespaces whose labels are known."),
    Family("gauge", "livery_node_kubelets", "Kubelets that can be scraped through this proxy."),
    Family("gauge", "livery_node_pods_up", "Whether the last pod list of each kubelet was read."),
    Family("gauge", "livery_node_discovery_up", "Whether the last target discovery succeeded."),
    Family(
        "gauge", "livery_node_kubelet_tls_verified", "Whether kubelet certificates are verified.",
    ),
    *readiness_families(PREFIX),
    *policy_families(PREFIX),
    *PROCESS_FAMILIES,
)  # fmt: skip

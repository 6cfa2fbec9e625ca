"""The injector's own metrics. Labels are codes; nothing that a tenant writes becomes one."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from injector.model.admission.troubles import Trouble
from sidecar import VERSION

# A second series for each counter, which the text format has no meaning for.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations

_LATENCY_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class InjectorMetrics:
    """All families, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("livery_build", "Version of this injector.", registry=self.registry).info(
            {"version": VERSION}
        )
        self.reviews = Counter(
            "livery_admission_reviews_total",
            "Admission reviews answered, by webhook, reason and whether it was a dry run.",
            ["webhook", "reason", "dry_run"],
            registry=self.registry,
        )
        self.refused_reviews = Counter(
            "livery_admission_refused_total",
            "Requests to the webhook that are not admission reviews, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self.warnings = Counter(
            "livery_admission_warnings_total",
            "Warnings sent with admission answers, by code.",
            ["code"],
            registry=self.registry,
        )
        self.review_seconds = Histogram(
            "livery_admission_duration_seconds",
            "Time to answer an admission review.",
            ["webhook"],
            buckets=_LATENCY_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge(
            "livery_policy_streams", "Proxies connected to this replica.", registry=self.registry
        )
        self.refused = Counter(
            "livery_control_refused_total",
            "Requests to the control service that were refused, by status.",
            ["status"],
            registry=self.registry,
        )
        self.reports = Counter(
            "livery_proxy_reports_total", "Reports received of proxies.", registry=self.registry
        )
        self.certificate_expiry = Gauge(
            "livery_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, by certificate (leaf or authority).",
            ["certificate"],
            registry=self.registry,
        )
        self.problems = Gauge(
            "livery_world_problems",
            "Resources, or manifest files, that cannot be read; their last good state is in force.",
            registry=self.registry,
        )
        self.missing = Gauge(
            "livery_pods_missing_proxy",
            "Pods that asked for a proxy and run without one, by labelled namespace.",
            ["namespace"],
            registry=self.registry,
        )
        self.drifted = Gauge(
            "livery_pods_drifted",
            "Pods whose annotations lead Prometheus past their proxy, by namespace.",
            ["namespace"],
            registry=self.registry,
        )
        self.cut_off = Gauge(
            "livery_pods_cut_off",
            "Pods whose proxy runs and has no stream to the control service, by namespace.",
            ["namespace"],
            registry=self.registry,
        )
        self.watch_failures = Counter(
            "livery_watch_failures_total",
            "Times that a resource of the API server could not be followed, by kind.",
            ["kind"],
            registry=self.registry,
        )

    def show_troubles(self, counts: Mapping[Trouble, Mapping[str, int]]) -> None:
        """Set how many pods have each trouble, for exactly these namespaces."""
        gauges = {
            Trouble.MISSING: self.missing,
            Trouble.DRIFTED: self.drifted,
            Trouble.CUT_OFF: self.cut_off,
        }
        for trouble, gauge in gauges.items():
            gauge.clear()
            for namespace, count in counts.get(trouble, {}).items():
                gauge.labels(namespace).set(count)

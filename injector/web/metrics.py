"""The injector's own metrics. Label values are codes or namespace names, never tenants' text."""

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

# Omit the `_created` series of counters, which have no meaning in the text format.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations

_LATENCY_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class InjectorMetrics:
    """All metric families, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("livery_build", "Version of this injector.", registry=self.registry).info(
            {"version": VERSION}
        )
        self.reviews = Counter(
            "livery_admission_reviews_total",
            "Admission reviews answered, by webhook, reason and dry run.",
            ["webhook", "reason", "dry_run"],
            registry=self.registry,
        )
        self.refused_reviews = Counter(
            "livery_admission_refused_total",
            "Webhook requests refused without a readable admission review, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self.warnings = Counter(
            "livery_admission_warnings_total",
            "Warnings returned in admission responses, by code.",
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
            "livery_policy_streams", "Policy streams open on this replica.", registry=self.registry
        )
        self.refused = Counter(
            "livery_control_refused_total",
            "Requests to the control service that were refused, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self.reports = Counter(
            "livery_proxy_reports_total", "Reports received from proxies.", registry=self.registry
        )
        self.certificate_expiry = Gauge(
            "livery_certificate_expiry_timestamp_seconds",
            "Unix time at which the certificate in use expires (leaf or authority).",
            ["certificate"],
            registry=self.registry,
        )
        self.problems = Gauge(
            "livery_world_problems",
            "Unreadable resources or manifests (last good state in use), and an unpublished CA.",
            registry=self.registry,
        )
        self.missing = Gauge(
            "livery_pods_missing_proxy",
            "Pods that request a proxy but run without one, by labelled namespace.",
            ["namespace"],
            registry=self.registry,
        )
        self.drifted = Gauge(
            "livery_pods_drifted",
            "Pods whose annotations do not point Prometheus at their proxy, by namespace.",
            ["namespace"],
            registry=self.registry,
        )
        self.cut_off = Gauge(
            "livery_pods_cut_off",
            "Pods whose proxy runs but has no stream to the control service, by namespace.",
            ["namespace"],
            registry=self.registry,
        )
        self.watch_failures = Counter(
            "livery_watch_failures_total",
            "Failures to list or watch a resource of the API server, by kind.",
            ["kind"],
            registry=self.registry,
        )

    def show_troubles(self, counts: Mapping[Trouble, Mapping[str, int]]) -> None:
        """Set the number of pods by trouble and namespace; other namespaces are removed."""
        gauges = {
            Trouble.MISSING: self.missing,
            Trouble.DRIFTED: self.drifted,
            Trouble.CUT_OFF: self.cut_off,
        }
        for trouble, gauge in gauges.items():
            gauge.clear()
            for namespace, count in counts.get(trouble, {}).items():
                gauge.labels(namespace).set(count)

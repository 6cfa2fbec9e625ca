"""Every metric that Livery exposes, read from its code."""

from collections.abc import Iterator
from typing import NamedTuple

from injector.web.metrics import InjectorMetrics
from sidecar.roles.aggregate.metrics import METRICS as AGGREGATE_METRICS
from sidecar.roles.gateway.metrics import DURATION, DURATION_HELP
from sidecar.roles.gateway.metrics import METRICS as GATEWAY_METRICS
from sidecar.roles.node.metrics import METRICS as NODE_METRICS
from sidecar.roles.pod.metrics import METRICS
from sidecar.scrape.pods.answer import POD_METRICS, TARGETS_HELP, TARGETS_METRIC
from sidecar.scrape.rendering import TARGET_METRICS


class Metric(NamedTuple):
    """One family."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    where: str


def injector_metrics() -> Iterator[Metric]:
    """Yield the metrics of the injector's port 9090."""
    registry = InjectorMetrics().registry
    labels = {
        name: tuple(getattr(collector, "_labelnames", ()))
        for collector, names in registry._collector_to_names.items()
        for name in names
    }
    for family in registry.collect():
        if family.name.startswith("process_"):
            continue  # the system determines which of them exist
        suffix = "_total" if family.type == "counter" else "_info" if family.type == "info" else ""
        name = family.name + suffix
        extra = ("version",) if family.type == "info" else ()
        yield Metric(
            name, family.type, (*labels.get(name, ()), *extra), family.documentation, "injector"
        )


def proxy_metrics() -> Iterator[Metric]:
    """Yield the metrics of a proxy's admin port."""
    for family in METRICS:
        yield Metric(family.name, family.kind, family.labels, family.help, "proxy")


def node_metrics() -> Iterator[Metric]:
    """Yield the additional metrics of a node proxy's admin port."""
    own = (family for family in NODE_METRICS if not family.name.startswith("process_"))
    for family in own:
        yield Metric(family.name, family.kind, family.labels, family.help, "node proxy")


def aggregate_metrics() -> Iterator[Metric]:
    """Yield the additional metrics of an aggregate's admin port."""
    own = (family for family in AGGREGATE_METRICS if not family.name.startswith("process_"))
    for family in own:
        yield Metric(family.name, family.kind, family.labels, family.help, "aggregate")


def gateway_metrics() -> Iterator[Metric]:
    """Yield the additional metrics of a gateway's admin port."""
    own = (family for family in GATEWAY_METRICS if not family.name.startswith("process_"))
    for family in own:
        yield Metric(family.name, family.kind, family.labels, family.help, "gateway")
    yield Metric(DURATION, "histogram", ("path",), DURATION_HELP, "gateway")


def pod_metrics() -> Iterator[Metric]:
    """Yield the metrics that an aggregate adds to the pods' own series."""
    for name, text in POD_METRICS.items():
        yield Metric(name, "gauge", ("namespace", "pod"), text, "pods")
    yield Metric(TARGETS_METRIC, "gauge", (), TARGETS_HELP, "pods")


def target_metrics() -> Iterator[Metric]:
    """Yield the metrics that a proxy adds to the workload's own series."""
    for suffix, text in TARGET_METRICS.items():
        yield Metric("livery_target_" + suffix, "gauge", ("container",), text, "workload")


def all_metrics() -> list[Metric]:
    """Return all of them."""
    return [
        *injector_metrics(),
        *proxy_metrics(),
        *node_metrics(),
        *aggregate_metrics(),
        *gateway_metrics(),
        *pod_metrics(),
        *target_metrics(),
    ]

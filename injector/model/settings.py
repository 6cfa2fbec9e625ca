"""What the platform decides about injection: the chart's values, in one place."""

from dataclasses import dataclass, field
from typing import Any

from sidecar.model.labels.namespace_labels import LabelRules

DEFAULT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "48Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}


@dataclass(frozen=True, kw_only=True)
class ControlAddress:
    """How a proxy reaches the control service."""

    url: str = "https://livery-injector.livery-system.svc:8444"
    """Its name, which its certificate shows."""
    address: str = ""
    """The Service's ClusterIP, so that pods with DNS of their own find it; empty: by name."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The platform's settings that concern pods and policies."""

    image: str = "livery-sidecar:0.1.0"
    """The proxy's image, by tag or digest."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    own_namespace: str = "livery-system"
    """Never injected: the injector must not wait for itself."""
    control: ControlAddress | None = field(default_factory=ControlAddress)
    """None where proxies run on their bootstrap policy alone."""
    labels: LabelRules = field(default_factory=LabelRules)
    metric_relabelings: tuple[dict[str, Any], ...] = ()
    """`exposition.metricRelabelings`: applied to every exposed series."""
    node_relabelings: tuple[dict[str, Any], ...] = ()
    """`node.metricRelabelings`: applied to every series of a node."""
    endpoint_relabelings: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """`node.endpointRelabelings`: the same by the kubelet's endpoint, behind those."""
    tells_nodes: bool = False
    """`node.tellNodes`: node proxies hear where every kubelet is."""
    target_label: str = "container"
    cross_namespace: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """`access.crossNamespace`: namespace to the namespaces that its rules may read, `*` for all."""
    grants_from_annotations: bool = False
    """Whether `livery.dev/metric-sources` on a Namespace grants; whoever may annotate it then
    grants to himself."""
    seed_compatible: bool = False
    """`access.seedCompatible`: every rule may read every namespace."""
    exporters: tuple[str, ...] = ()
    """`control.grants.exporters`: service accounts (`namespace/name`) told all labels."""
    nodes: tuple[str, ...] = ()
    """`control.grants.nodes`: service accounts of node proxies."""
    gateways: tuple[str, ...] = ()
    """`control.grants.gateways`: service accounts of gateways."""

"""The platform's settings as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.model.described import Described
from sidecar.model.labels.namespace_labels import LabelRules

DEFAULT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "48Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}


class Mesh(Described):
    """Which mesh the pods of a cluster may be in."""

    NONE = "none", "nothing is written"
    ISTIO = "istio", "the proxy's ports are excluded from what Istio's sidecar redirects"
    LINKERD = "linkerd", "the proxy's ports are excluded from what Linkerd's proxy redirects"


class BackendKind(Described):
    """What of Kubernetes leads gateways to Prometheus servers."""

    SERVICE = "Service", "its name is asked, and Kubernetes chooses a pod"
    POD = "Pod", "each ready pod is asked"
    ENDPOINT_SLICE = "EndpointSlice", "each ready endpoint is asked"


@dataclass(frozen=True, kw_only=True)
class BackendDiscovery:
    """Which objects lead gateways to Prometheus servers."""

    kind: BackendKind = BackendKind.SERVICE
    namespaces: tuple[str, ...] = ()
    """Where they are; none for all."""
    label_selector: str = ""
    """As `kubectl -l` has it."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """That they must have."""
    port: str = ""
    """A port's name or number; empty for the one that looks like Prometheus'."""
    scheme: str = "http"
    path: str = ""
    """Before the API's own paths."""


class Collect(Described):
    """Who gathers the series that an object sends."""

    PROXIES = "proxies", "the proxies beside the workloads of its namespace"
    PROMETHEUS = "prometheus", "a collector that reads the platform's Prometheus"


@dataclass(frozen=True, kw_only=True)
class RemoteWriteSettings:
    """How objects' series are sent."""

    collect: Collect = Collect.PROXIES
    default_extra_labels: Mapping[str, str] = field(
        default_factory=lambda: {"tenant": "{namespace}", "managed_by": "livery"}
    )
    """Of every series that is sent; `{namespace}` stands for the object's."""
    allowed_ranges: tuple[str, ...] = ()
    """Address ranges that receivers may have, whatever they are."""
    cluster_domain: str = "cluster.local"
    secret_namespaces: tuple[str, ...] = ()
    """Whose Secrets objects may name."""
    requires_secret_consent: bool = True
    """Whether a Secret must say where it may be sent."""

    def reads_secrets_of(self, namespace: str) -> bool:
        """Tell whether the platform reads Secrets of a namespace."""
        return namespace in self.secret_namespaces


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
    publishes_nodes: bool = False
    """`node.publishNodes`: node proxies hear where every kubelet is."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """`exposition.limits`: bounds of each pod's proxy, by name."""
    target_label: str = "container"
    mesh: Mesh = Mesh.NONE
    """`injection.mesh`: what else may stand before a proxy's ports."""
    cross_namespace: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """`access.crossNamespace`: namespace to the namespaces that its rules may read, `*` for all."""
    grants_from_annotations: bool = False
    """Whether `livery.dev/metric-sources` on a Namespace grants; whoever may annotate it then
    grants to himself."""
    all_namespaces: bool = False
    """`access.allNamespaces`: every rule may read every namespace."""
    exporters: tuple[str, ...] = ()
    """`control.grants.exporters`: service accounts (`namespace/name`) told all labels."""
    nodes: tuple[str, ...] = ()
    """`control.grants.nodes`: service accounts of node proxies."""
    gateways: tuple[str, ...] = ()
    """`control.grants.gateways`: service accounts of gateways."""
    collectors: tuple[str, ...] = ()
    """`control.grants.collectors`: service accounts of collectors, which send for every tenant."""
    aggregates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`control.grants.aggregates`: by service account the namespaces whose pods an aggregate may
    know beside its own; `*` for all."""
    gateway_namespace_label: str = "namespace"
    """`gateway.namespaceLabel`: names a series' namespace in Prometheus."""
    gateway_refuses_unseen: bool = False
    """`gateway.refuseUnseen`: whether asking for what no rule shows is an error."""
    remote_write: RemoteWriteSettings = field(default_factory=lambda: RemoteWriteSettings())
    """`remoteWrite`: how objects' series are sent."""
    backends: tuple[BackendDiscovery, ...] = ()
    """`gateway.backends`: where gateways find Prometheus servers."""

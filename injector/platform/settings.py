"""Data types of the platform's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.model.described import Described
from sidecar.model.labels.namespace_labels import LabelRules

DEFAULT_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "10m", "memory": "48Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}


@dataclass(frozen=True, kw_only=True)
class SidecarSettings:
    """Defaults of the container that injection adds; annotations of a pod take precedence."""

    resources: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: DEFAULT_RESOURCES)
    """`sidecar.resources`: requests and limits of CPU and memory."""
    extra_arguments: tuple[str, ...] = ()
    """`sidecar.extraArgs`: appended to the proxy's arguments."""
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    """`sidecar.extraEnv`: variables by name; the proxy's own take precedence."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the webhook selects in addition to the namespace's label; empty selectors match all."""

    namespaces: Mapping[str, Any] = field(default_factory=dict)
    """`webhook.namespaceSelector`."""
    objects: Mapping[str, Any] = field(default_factory=dict)
    """`webhook.objectSelector`."""


class Mesh(Described):
    """Service mesh that the cluster's pods may be part of."""

    NONE = "none", "no annotation for a mesh is written"
    ISTIO = "istio", "the proxy's ports are excluded from Istio's inbound redirection"
    LINKERD = "linkerd", "the proxy's ports are excluded from Linkerd's inbound redirection"


class BackendKind(Described):
    """Kind of Kubernetes object by which gateways discover Prometheus servers."""

    SERVICE = "Service", "its DNS name is one backend, and Kubernetes chooses a pod"
    POD = "Pod", "each ready pod is a backend"
    ENDPOINT_SLICE = "EndpointSlice", "each ready endpoint is a backend"


@dataclass(frozen=True, kw_only=True)
class BackendDiscovery:
    """The objects by which gateways discover Prometheus servers."""

    kind: BackendKind = BackendKind.SERVICE
    namespaces: tuple[str, ...] = ()
    """Namespaces of the objects; empty for all."""
    label_selector: str = ""
    """Selector in the syntax of `kubectl -l`."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Annotations that the objects must have."""
    port: str = ""
    """A port's name or number; empty to detect Prometheus's port."""
    scheme: str = "http"
    path: str = ""
    """Prefix of the API's paths."""


class Collect(Described):
    """Which component collects the series that an object sends."""

    PROXIES = "proxies", "the proxies beside the workloads of its namespace"
    PROMETHEUS = "prometheus", "a collector that reads the platform's Prometheus"


@dataclass(frozen=True, kw_only=True)
class RemoteWriteSettings:
    """How the series of MetricAccess objects are sent."""

    collect: Collect = Collect.PROXIES
    default_extra_labels: Mapping[str, str] = field(
        default_factory=lambda: {"tenant": "{namespace}", "managed_by": "livery"}
    )
    """Added to every sent series; `{namespace}` is replaced by the object's namespace."""
    allowed_ranges: tuple[str, ...] = ()
    """Address ranges allowed for receivers besides public ones and the namespace's own Services."""
    cluster_domain: str = "cluster.local"
    secret_namespaces: tuple[str, ...] = ()
    """Namespaces whose objects may reference Secrets."""
    requires_secret_consent: bool = True
    """Whether a Secret must list the hosts that it may be sent to."""

    def reads_secrets_of(self, namespace: str) -> bool:
        """Return whether the platform reads Secrets of a namespace."""
        return namespace in self.secret_namespaces


@dataclass(frozen=True, kw_only=True)
class ControlAddress:
    """How a proxy reaches the control service."""

    url: str = "https://livery-injector.livery-system.svc:8444"
    """URL with the host name that is in the service's certificate."""
    address: str = ""
    """The Service's ClusterIP, for pods with custom DNS; empty to resolve the URL's name."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The platform's settings for pods and policies."""

    image: str = "livery-sidecar:0.1.0"
    """The proxy's image, by tag or digest."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    sidecar: SidecarSettings = field(default_factory=SidecarSettings)
    selection: Selection = field(default_factory=Selection)
    own_namespace: str = "livery-system"
    """Never injected: the injector must not depend on its own webhook."""
    control: ControlAddress | None = field(default_factory=ControlAddress)
    """None if proxies use their bootstrap policy only."""
    labels: LabelRules = field(default_factory=LabelRules)
    metric_relabelings: tuple[dict[str, Any], ...] = ()
    """`exposition.metricRelabelings`: applied to every exposed series."""
    node_relabelings: tuple[dict[str, Any], ...] = ()
    """`node.metricRelabelings`: applied to every series of a node."""
    endpoint_relabelings: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """`node.endpointRelabelings`: rules per kubelet endpoint, applied after those."""
    publishes_nodes: bool = False
    """`node.publishNodes`: node proxies receive the URL of every kubelet."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """`exposition.limits`: limits of each pod's proxy, by name."""
    target_label: str = "container"
    mesh: Mesh = Mesh.NONE
    """`injection.mesh`: service mesh that may be in front of a proxy's ports."""
    cross_namespace: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """`access.crossNamespace`: for each namespace, those that its rules may read; `*` for all."""
    grants_from_annotations: bool = False
    """Whether `livery.dev/metric-sources` on a Namespace grants access. Anyone who may annotate the
    Namespace can then grant access to it."""
    all_namespaces: bool = False
    """`access.allNamespaces`: every rule may read every namespace."""
    exporters: tuple[str, ...] = ()
    """`control.grants.exporters`: service accounts (`namespace/name`) that receive all labels."""
    nodes: tuple[str, ...] = ()
    """`control.grants.nodes`: service accounts of node proxies."""
    gateways: tuple[str, ...] = ()
    """`control.grants.gateways`: service accounts of gateways."""
    collectors: tuple[str, ...] = ()
    """`control.grants.collectors`: service accounts of collectors, which send for every tenant."""
    aggregates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`control.grants.aggregates`: for each service account, the namespaces whose pods an aggregate
    may see in addition to its own; `*` for all."""
    gateway_namespace_label: str = "namespace"
    """`gateway.namespaceLabel`: label that holds a series' namespace in Prometheus."""
    gateway_refuses_unseen: bool = False
    """`gateway.refuseUnseen`: whether a query for series that no rule allows is an error."""
    remote_write: RemoteWriteSettings = field(default_factory=lambda: RemoteWriteSettings())
    """`remoteWrite`: how the series of MetricAccess objects are sent."""
    backends: tuple[BackendDiscovery, ...] = ()
    """`gateway.backends`: how gateways discover Prometheus servers."""

"""The platform's settings file: the chart's values that concern pods and policies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from injector.errors import SettingsError
from sidecar.errors import RuleError
from sidecar.model.described import Described
from sidecar.model.exposition.limits import LIMITS
from sidecar.model.fields import Fields
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.policy.node import KUBELET_ENDPOINTS

DEFAULT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "48Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}


class Mesh(Described):
    """Which mesh the pods of a cluster may be in."""

    NONE = "none", "nothing is written"
    ISTIO = "istio", "the proxy's ports are excluded from what Istio's sidecar redirects"
    LINKERD = "linkerd", "the proxy's ports are excluded from what Linkerd's proxy redirects"


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


_FIELDS: Mapping[str, frozenset[str]] = {
    "": frozenset(
        [
            "image",
            "ownNamespace",
            "injection",
            "labels",
            "exposition",
            "access",
            "control",
            "node",
        ]
    ),
    "injection": frozenset(["mesh"]),
    "node": frozenset(["metricRelabelings", "endpointRelabelings", "publishNodes"]),
    "image": frozenset(["reference", "pullPolicy", "pullSecrets"]),
    "labels": frozenset(["include", "exclude", "rename", "prefix", "protected"]),
    "exposition": frozenset(["metricRelabelings", "targetLabel", "limits"]),
    "exposition.limits": frozenset(limit.name for limit in LIMITS),
    "access": frozenset(["crossNamespace", "grantsFromAnnotations", "allNamespaces"]),
    "control": frozenset(["url", "address", "enabled", "grants"]),
    "control.grants": frozenset(["exporters", "nodes", "gateways"]),
}
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def parse_platform(value: object) -> Platform:
    """Read a settings document.

    Args:
        value: what YAML gave; nothing means all defaults.

    Raises:
        SettingsError: a field is unknown or wrong; names it.
    """
    try:
        return _parse({} if value is None else value)
    except RuleError as error:
        raise SettingsError(str(error)) from error


def _parse(value: object) -> Platform:
    document = _block(Fields(value), "")
    default = Platform()
    image, exposition, access, control, node = (
        _block(document.at(name), name)
        for name in ("image", "exposition", "access", "control", "node")
    )
    grants = _block(control.at("grants"), "control.grants")
    pull_policy = _text(image, "pullPolicy", default.image_pull_policy)
    if pull_policy not in _PULL_POLICIES:
        # The API server would refuse every pod that is injected.
        raise RuleError("image.pullPolicy", f"not one of {', '.join(_PULL_POLICIES)}")
    return Platform(
        image=_text(image, "reference", default.image),
        image_pull_policy=pull_policy,
        image_pull_secrets=image.strings("pullSecrets"),
        own_namespace=_text(document, "ownNamespace", default.own_namespace),
        control=_control(control),
        mesh=_mesh(_block(document.at("injection"), "injection")),
        labels=_labels(_block(document.at("labels"), "labels")),
        metric_relabelings=_rules(exposition, "metricRelabelings"),
        node_relabelings=_rules(node, "metricRelabelings"),
        endpoint_relabelings=_endpoint_rules(node.at("endpointRelabelings")),
        publishes_nodes=node.flag("publishNodes"),
        limits=_limits(_block(exposition.at("limits"), "exposition.limits")),
        target_label=_text(exposition, "targetLabel", default.target_label),
        cross_namespace={
            str(name): access.at("crossNamespace").strings(name)
            for name in access.mapping("crossNamespace")
        },
        grants_from_annotations=access.flag("grantsFromAnnotations"),
        all_namespaces=access.flag("allNamespaces"),
        exporters=_accounts(grants, "exporters"),
        nodes=_accounts(grants, "nodes"),
        gateways=_accounts(grants, "gateways"),
    )


def _rules(block: Fields, key: str) -> tuple[dict[str, Any], ...]:
    """Return relabel rules as they are written, checked."""
    rules = block.value.get(key)
    parse_rules(rules, block.name(key))
    return tuple(rules or ())


def _limits(block: Fields) -> dict[str, int]:
    limits: dict[str, int] = {}
    for limit in LIMITS:
        value = block.value.get(limit.name)
        if value is None:
            continue
        try:
            limits[limit.name] = limit.parse(str(value))
        except SettingsError as error:
            raise RuleError(block.name(limit.name), str(error)) from error
    return limits


def _endpoint_rules(block: Fields) -> dict[str, tuple[dict[str, Any], ...]]:
    block.refuse_unknown(KUBELET_ENDPOINTS, "an endpoint")
    return {endpoint: _rules(block, endpoint) for endpoint in block.value}


def _accounts(grants: Fields, kind: str) -> tuple[str, ...]:
    accounts = grants.strings(kind)
    for account in accounts:
        if _ACCOUNT.fullmatch(account) is None:
            reason = f"{account[:80]!r} is not NAMESPACE/SERVICEACCOUNT"
            raise RuleError(grants.name(kind), reason)
    return accounts


def _labels(block: Fields) -> LabelRules:
    default = LabelRules()
    has = block.value.get
    return LabelRules(
        include=default.include if has("include") is None else block.strings("include"),
        exclude=default.exclude if has("exclude") is None else block.strings("exclude"),
        rename=block.string_map("rename"),
        prefix=block.text("prefix"),
        protected=frozenset(block.strings("protected")),
    )


def _mesh(block: Fields) -> Mesh:
    text = _text(block, "mesh", Mesh.NONE)
    mesh = next((item for item in Mesh if item == text), None)
    if mesh is None:
        raise RuleError(block.name("mesh"), f"not one of {', '.join(Mesh)}")
    return mesh


def _control(block: Fields) -> ControlAddress | None:
    if not block.flag("enabled", default=True):
        return None
    default = ControlAddress()
    return ControlAddress(url=_text(block, "url", default.url), address=block.text("address"))


def _block(block: Fields, path: str) -> Fields:
    block.refuse_unknown(_FIELDS[path], "a setting")
    return block


def _text(block: Fields, key: str, default: str) -> str:
    if block.value.get(key) is None:
        return default
    text = block.text(key)
    if not text:
        raise RuleError(block.name(key), "it must not be empty")
    return text

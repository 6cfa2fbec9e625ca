"""The platform's settings file: the chart's values that concern pods and policies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from injector.errors import SettingsError
from sidecar.errors import RuleError
from sidecar.model.access.rules import parse_string_list, parse_string_map
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.policy.document import KUBELET_ENDPOINTS

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


_FIELDS: Mapping[str, frozenset[str]] = {
    "": frozenset(["image", "ownNamespace", "labels", "exposition", "access", "control", "node"]),
    "node": frozenset(["metricRelabelings", "endpointRelabelings", "tellNodes"]),
    "image": frozenset(["reference", "pullPolicy", "pullSecrets"]),
    "labels": frozenset(["include", "exclude", "rename", "prefix", "protected"]),
    "exposition": frozenset(["metricRelabelings", "targetLabel"]),
    "access": frozenset(["crossNamespace", "grantsFromAnnotations", "seedCompatible"]),
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
    document = _block(value, "")
    default = Platform()
    image = _block(document.get("image"), "image")
    exposition = _block(document.get("exposition"), "exposition")
    access = _block(document.get("access"), "access")
    control = _block(document.get("control"), "control")
    grants = _block(control.get("grants"), "control.grants")
    pull_policy = _text(image, "image", "pullPolicy", default.image_pull_policy)
    if pull_policy not in _PULL_POLICIES:
        # The API server would refuse every pod that is injected.
        raise RuleError("image.pullPolicy", f"not one of {', '.join(_PULL_POLICIES)}")
    node = _block(document.get("node"), "node")
    parse_rules(exposition.get("metricRelabelings"), "exposition.metricRelabelings")
    parse_rules(node.get("metricRelabelings"), "node.metricRelabelings")
    return Platform(
        image=_text(image, "image", "reference", default.image),
        image_pull_policy=pull_policy,
        image_pull_secrets=parse_string_list(image.get("pullSecrets"), "image.pullSecrets"),
        own_namespace=_text(document, "", "ownNamespace", default.own_namespace),
        control=_control(control),
        labels=_labels(_block(document.get("labels"), "labels")),
        metric_relabelings=tuple(exposition.get("metricRelabelings") or ()),
        node_relabelings=tuple(node.get("metricRelabelings") or ()),
        endpoint_relabelings=_endpoint_rules(_mapping(node, "node", "endpointRelabelings")),
        tells_nodes=_flag(node, "node", "tellNodes"),
        target_label=_text(exposition, "exposition", "targetLabel", default.target_label),
        cross_namespace={
            name: parse_string_list(listed, f"access.crossNamespace.{name}")
            for name, listed in _mapping(access, "access", "crossNamespace").items()
        },
        grants_from_annotations=_flag(access, "access", "grantsFromAnnotations"),
        seed_compatible=_flag(access, "access", "seedCompatible"),
        exporters=_accounts(grants, "exporters"),
        nodes=_accounts(grants, "nodes"),
        gateways=_accounts(grants, "gateways"),
    )


def _endpoint_rules(given: Mapping[str, Any]) -> dict[str, tuple[dict[str, Any], ...]]:
    path = "node.endpointRelabelings"
    for endpoint, rules in given.items():
        if endpoint not in KUBELET_ENDPOINTS:
            known = ", ".join(KUBELET_ENDPOINTS)
            raise RuleError(f"{path}.{str(endpoint)[:80]}", f"not one of {known}")
        parse_rules(rules, f"{path}.{endpoint}")
    return {endpoint: tuple(rules or ()) for endpoint, rules in given.items()}


def _accounts(grants: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    path = f"control.grants.{kind}"
    accounts = parse_string_list(grants.get(kind), path)
    for account in accounts:
        if _ACCOUNT.fullmatch(account) is None:
            raise RuleError(path, f"{account[:80]!r} is not NAMESPACE/SERVICEACCOUNT")
    return accounts


def _labels(block: Mapping[str, Any]) -> LabelRules:
    default = LabelRules()
    include, exclude = block.get("include"), block.get("exclude")
    return LabelRules(
        include=default.include
        if include is None
        else parse_string_list(include, "labels.include"),
        exclude=default.exclude
        if exclude is None
        else parse_string_list(exclude, "labels.exclude"),
        rename=parse_string_map(block.get("rename"), "labels.rename"),
        prefix=_text(block, "labels", "prefix", ""),
        protected=frozenset(parse_string_list(block.get("protected"), "labels.protected")),
    )


def _control(block: Mapping[str, Any]) -> ControlAddress | None:
    if not _flag(block, "control", "enabled", default=True):
        return None
    default = ControlAddress()
    url = _text(block, "control", "url", default.url)
    return ControlAddress(url=url, address=_text(block, "control", "address", default.address))


def _block(value: object, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RuleError(path, "a mapping is needed")
    unknown = sorted(map(str, set(value) - _FIELDS[path]))
    if unknown:
        name = f"{path}.{unknown[0]}" if path else unknown[0]
        raise RuleError(name, f"not a setting (known here: {', '.join(sorted(_FIELDS[path]))})")
    return value


def _mapping(block: Mapping[str, Any], path: str, key: str) -> Mapping[str, Any]:
    value = block.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RuleError(f"{path}.{key}", "a mapping is needed")
    return value


def _text(block: Mapping[str, Any], path: str, key: str, default: str) -> str:
    value = block.get(key, default)
    if not isinstance(value, str):
        raise RuleError(f"{path}.{key}" if path else key, "a string is needed")
    if default and not value:
        raise RuleError(f"{path}.{key}" if path else key, "it must not be empty")
    return value


def _flag(block: Mapping[str, Any], path: str, key: str, *, default: bool = False) -> bool:
    value = block.get(key, default)
    if not isinstance(value, bool):
        raise RuleError(f"{path}.{key}", "true or false is needed")
    return value

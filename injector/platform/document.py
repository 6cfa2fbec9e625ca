"""Reads the platform's settings from a document."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from injector.errors import SettingsError
from injector.platform.settings import (
    BackendDiscovery,
    BackendKind,
    Collect,
    ControlAddress,
    Mesh,
    Platform,
    RemoteWriteSettings,
)
from sidecar.errors import RuleError
from sidecar.model.exposition.limits import LIMITS
from sidecar.model.fields import Fields
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.policy.forward import read_ranges
from sidecar.model.policy.node import KUBELET_ENDPOINTS

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
            "gateway",
            "remoteWrite",
        ]
    ),
    "gateway": frozenset(["backends", "namespaceLabel", "refuseUnseen"]),
    "remoteWrite": frozenset(
        [
            "collect",
            "defaultExtraLabels",
            "allowedRanges",
            "clusterDomain",
            "secretNamespaces",
            "requireSecretConsent",
        ]
    ),
    "gateway.backends": frozenset(
        ["kind", "namespaces", "labelSelector", "annotations", "port", "scheme", "path"]
    ),
    "injection": frozenset(["mesh"]),
    "node": frozenset(["metricRelabelings", "endpointRelabelings", "publishNodes"]),
    "image": frozenset(["reference", "pullPolicy", "pullSecrets"]),
    "labels": frozenset(["include", "exclude", "rename", "prefix", "protected"]),
    "exposition": frozenset(["metricRelabelings", "targetLabel", "limits"]),
    "exposition.limits": frozenset(limit.name for limit in LIMITS),
    "access": frozenset(["crossNamespace", "grantsFromAnnotations", "allNamespaces"]),
    "control": frozenset(["url", "address", "enabled", "grants"]),
    "control.grants": frozenset(["exporters", "nodes", "gateways", "collectors", "aggregates"]),
    "control.grants.aggregates": frozenset(["serviceAccount", "namespaces"]),
}
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
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
    gateway = _block(document.at("gateway"), "gateway")
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
        collectors=_accounts(grants, "collectors"),
        aggregates=_aggregates(grants),
        gateway_namespace_label=_text(gateway, "namespaceLabel", "namespace"),
        gateway_refuses_unseen=gateway.flag("refuseUnseen"),
        backends=_backends(gateway),
        remote_write=_remote_write(_block(document.at("remoteWrite"), "remoteWrite")),
    )


def _remote_write(block: Fields) -> RemoteWriteSettings:
    default = RemoteWriteSettings()
    text = _text(block, "collect", default.collect)
    collect = next((one for one in Collect if one == text), None)
    if collect is None:
        raise RuleError(block.name("collect"), f"not one of {', '.join(Collect)}")
    has_labels = block.value.get("defaultExtraLabels") is not None
    labels = block.string_map("defaultExtraLabels") if has_labels else default.default_extra_labels
    domain = _text(block, "clusterDomain", default.cluster_domain)
    secret_namespaces = block.strings("secretNamespaces")
    for name in secret_namespaces:
        if _NAMESPACE.fullmatch(name) is None:
            raise RuleError(block.name("secretNamespaces"), f"{name[:80]!r} is not a namespace")
    return RemoteWriteSettings(
        collect=collect,
        default_extra_labels=labels,
        allowed_ranges=tuple(map(str, read_ranges(block))),
        cluster_domain=domain,
        secret_namespaces=secret_namespaces,
        requires_secret_consent=block.flag("requireSecretConsent", default=True),
    )


def _backends(gateway: Fields) -> tuple[BackendDiscovery, ...]:
    found: list[BackendDiscovery] = []
    for item in gateway.each("backends"):
        block = _block(item, "gateway.backends")
        default = BackendDiscovery()
        text = _text(block, "kind", default.kind)
        kind = next((one for one in BackendKind if one == text), None)
        if kind is None:
            raise RuleError(block.name("kind"), f"not one of {', '.join(BackendKind)}")
        scheme = _text(block, "scheme", default.scheme)
        if scheme not in ("http", "https"):
            raise RuleError(block.name("scheme"), "not http or https")
        namespaces = block.strings("namespaces")
        _check_namespaces(block, namespaces)
        port = block.value.get("port")
        found.append(
            BackendDiscovery(
                kind=kind,
                namespaces=namespaces,
                label_selector=block.text("labelSelector"),
                annotations=block.string_map("annotations"),
                port=str(port) if isinstance(port, int) else block.text("port"),
                scheme=scheme,
                path=block.text("path").rstrip("/"),
            )
        )
    return tuple(found)


def _check_namespaces(block: Fields, names: Sequence[str]) -> None:
    for name in names:
        if _NAMESPACE.fullmatch(name) is None:
            raise RuleError(block.name("namespaces"), f"{name[:80]!r} is not a namespace")


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
        _check_account(account, grants.name(kind))
    return accounts


def _check_account(account: str, path: str) -> None:
    if _ACCOUNT.fullmatch(account) is None:
        raise RuleError(path, f"{account[:80]!r} is not NAMESPACE/SERVICEACCOUNT")


def _aggregates(grants: Fields) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for grant in grants.each("aggregates"):
        block = _block(grant, "control.grants.aggregates")
        account = block.text("serviceAccount")
        _check_account(account, block.name("serviceAccount"))
        namespaces = block.strings("namespaces")
        for name in namespaces:
            if name != "*" and _NAMESPACE.fullmatch(name) is None:
                raise RuleError(block.name("namespaces"), f"{name[:80]!r} is not a namespace or *")
        found[account] = found.get(account, ()) + namespaces
    return found


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

"""Reads the platform's settings from a document."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from injector.errors import SettingsError
from injector.platform.settings import (
    DEFAULT_RESOURCES,
    BackendDiscovery,
    BackendKind,
    Collect,
    ControlAddress,
    Mesh,
    Platform,
    RemoteWriteSettings,
    Selection,
    SidecarSettings,
)
from sidecar.errors import RuleError
from sidecar.errors import SettingsError as InvalidLimitError
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
            "sidecar",
            "webhook",
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
    "webhook": frozenset(["namespaceSelector", "objectSelector"]),
    "webhook.namespaceSelector": frozenset(["matchLabels", "matchExpressions"]),
    "webhook.objectSelector": frozenset(["matchLabels", "matchExpressions"]),
    "sidecar": frozenset(["resources", "extraArgs", "extraEnv"]),
    "sidecar.resources": frozenset(["requests", "limits"]),
    "sidecar.resources.requests": frozenset(["cpu", "memory"]),
    "sidecar.resources.limits": frozenset(["cpu", "memory"]),
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
_IMAGE = re.compile(
    r"([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_OWN_VARIABLES = ("LIVERY_POD_", "LIVERY_CONTROL_", "LIVERY_TOKEN_", "LIVERY_JOB", "LIVERY_LABEL_",
                  "LIVERY_NAMESPACE_")  # fmt: skip
_LEAST_MEMORY, _MOST_MEMORY = 24 << 20, 1 << 40
_SHIFTS = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30}
_CPU = re.compile(r"[1-9][0-9]{0,4}m|[1-9][0-9]?")
"""At most 100 cores: a pod with more would never be scheduled."""
_MEMORY = re.compile(r"[1-9][0-9]{0,11}(Ki|Mi|Gi)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def parse_platform(value: object) -> Platform:
    """Read a settings document.

    Args:
        value: the parsed YAML; None means all defaults.

    Raises:
        SettingsError: a field is unknown or invalid; names it.
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
        # The API server would reject every injected pod.
        raise RuleError("image.pullPolicy", f"must be one of {', '.join(_PULL_POLICIES)}")
    return Platform(
        image=_image(image, default.image),
        image_pull_policy=pull_policy,
        image_pull_secrets=image.strings("pullSecrets"),
        sidecar=_sidecar(_block(document.at("sidecar"), "sidecar")),
        selection=_selection(_block(document.at("webhook"), "webhook")),
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


def _image(block: Fields, default: str) -> str:
    """Read the proxy's image: the API server or the kubelet would refuse an invalid one.

    Raises:
        RuleError: it is not the reference of an image.
    """
    reference = _text(block, "reference", default)
    if not _IMAGE.fullmatch(reference):
        reason = f"{reference[:80]!r} is not an image such as registry.example/livery-sidecar:0.1.0"
        raise RuleError(block.name("reference"), reason)
    return reference


def _selection(block: Fields) -> Selection:
    found = {}
    for name in ("namespaceSelector", "objectSelector"):
        selector = _block(block.at(name), f"webhook.{name}")
        expressions = selector.value.get("matchExpressions") or []
        if not isinstance(expressions, list) or not all(map(_is_expression, expressions)):
            # Each pod would be judged malformed.
            reason = "must be a list of {key, operator: In, NotIn, Exists or DoesNotExist, values}"
            raise RuleError(selector.name("matchExpressions"), reason)
        labels = dict(selector.string_map("matchLabels"))
        found[name] = {
            **({"matchLabels": labels} if labels else {}),
            **({"matchExpressions": expressions} if expressions else {}),
        }
    return Selection(namespaces=found["namespaceSelector"], objects=found["objectSelector"])


def _is_expression(item: object) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("key"), str):
        return False
    values = item.get("values") or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return False
    operator = item.get("operator")
    return operator in {"Exists", "DoesNotExist"} if not values else operator in {"In", "NotIn"}


def _sidecar(block: Fields) -> SidecarSettings:
    resources = _block(block.at("resources"), "sidecar.resources")
    environment = block.string_map("extraEnv")
    for name in environment:
        if name.startswith(_OWN_VARIABLES):
            raise RuleError("sidecar.extraEnv", f"{name[:60]} is set by the injector")
        if not _VARIABLE.fullmatch(name):
            raise RuleError("sidecar.extraEnv", f"{name[:60]!r} is not the name of a variable")
    return SidecarSettings(
        resources={
            kind: _amounts(_block(resources.at(kind), f"sidecar.resources.{kind}"), defaults)
            for kind, defaults in DEFAULT_RESOURCES.items()
        },
        extra_arguments=block.strings("extraArgs"),
        extra_environment=environment,
    )


def _amounts(block: Fields, defaults: Mapping[str, str]) -> Mapping[str, str]:
    """Read CPU and memory in the units that the chart's policy reads, too.

    Raises:
        RuleError: an amount is invalid.
    """
    found = {name: str(block.value.get(name, default)) for name, default in defaults.items()}
    for name, pattern, example in (("cpu", _CPU, "250m"), ("memory", _MEMORY, "64Mi")):
        if not pattern.fullmatch(found[name]):
            reason = f"{found[name][:40]!r} is not an amount such as {example}"
            raise RuleError(block.name(name), reason)
    size = int(found["memory"].rstrip("KMGi")) << _SHIFTS[found["memory"].lstrip("0123456789")]
    if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
        raise RuleError(block.name("memory"), f"{found['memory']} is not from 24Mi to 1Ti")
    return found


def _remote_write(block: Fields) -> RemoteWriteSettings:
    default = RemoteWriteSettings()
    text = _text(block, "collect", default.collect)
    collect = next((one for one in Collect if one == text), None)
    if collect is None:
        raise RuleError(block.name("collect"), f"must be one of {', '.join(Collect)}")
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
            raise RuleError(block.name("kind"), f"must be one of {', '.join(BackendKind)}")
        scheme = _text(block, "scheme", default.scheme)
        if scheme not in ("http", "https"):
            raise RuleError(block.name("scheme"), "must be http or https")
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
    """Validate relabel rules and return them unchanged."""
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
        except InvalidLimitError as error:
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
        raise RuleError(path, f"{account[:80]!r} is not of the form NAMESPACE/SERVICEACCOUNT")


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
        raise RuleError(block.name("mesh"), f"must be one of {', '.join(Mesh)}")
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
        raise RuleError(block.name(key), "must not be empty")
    return text

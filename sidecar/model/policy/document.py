"""The contract between the control service and a proxy: what one proxy is told.

A policy is a function of the cluster's present objects only. Its version is a hash of its text, so
every replica of the control service gives the same policy the same name.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.errors import PolicyError, RuleError, show
from sidecar.model.access.rules import (
    AccessRule,
    parse_access_rules,
    parse_string_list,
    parse_string_map,
)
from sidecar.model.labels.namespace_labels import LabelRules, derive_labels
from sidecar.model.labels.relabel import Rule, parse_rules

SCHEMA = 1
"""Counts up when a proxy that knows only the old form would do something wrong with the new."""
MAX_POLICY_BYTES = 16 << 20
KUBELET_ENDPOINTS = (
    "/metrics",
    "/metrics/cadvisor",
    "/metrics/resource",
    "/metrics/probes",
    "/metrics/slis",
)
"""What a node proxy serves, under the kubelet's own paths."""

_FIELDS = frozenset(
    [
        "schema",
        "namespace",
        "labels",
        "labelRules",
        "metricRelabelings",
        "access",
        "namespaces",
        "nodes",
        "endpointRelabelings",
    ]
)
_RULE_FIELDS = frozenset(["rename", "prefix", "protected"])


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What one proxy is told; the default changes nothing."""

    namespace: str = ""
    """The proxy's own namespace; empty where it is not known."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What every series wears, by label name."""
    naming: LabelRules = field(default_factory=lambda: LabelRules(exclude=()))
    """How labels are named by their keys."""
    protected: frozenset[str] = frozenset()
    """Label names in which the application is not believed."""
    relabelings: tuple[Rule, ...] = ()
    """The platform's rules, applied to every series."""
    endpoint_relabelings: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    """Rules for series of one of the kubelet's endpoints, behind those for all."""
    access: tuple[AccessRule, ...] | None = None
    """The namespace's access rules; None where they have not arrived."""
    namespaces: Mapping[str, Mapping[str, str]] | None = None
    """What series wear by their own namespace; only granted exporters are told."""
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The same by key, as Kubernetes has it."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Address, or URL, of each node's kubelet; only a node proxy for all nodes is told."""


def parse_policy(value: object, *, reads_access: bool = True) -> Policy:
    """Read a policy document.

    Args:
        value: a mapping as JSON or YAML gives it. Labels stand by their Kubernetes key and are
            named here, by `labelRules`: the bootstrap policy and the stream go one way.
        reads_access: whether access rules are compiled; who does not filter need not pay.

    Raises:
        PolicyError: malformed, or of a newer schema; names the field.
    """
    if not isinstance(value, dict):
        raise PolicyError("a policy is a mapping")
    schema = value.get("schema", SCHEMA)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise PolicyError(
            f"policy schema {show(schema)} is newer than this livery-proxy reads ({SCHEMA}):"
            " update it"
        )
    unknown = sorted(map(str, set(value) - _FIELDS))
    if unknown:
        raise PolicyError(f"{unknown[0]}: not a field of a policy ({', '.join(sorted(_FIELDS))})")
    try:
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode()
        return _parse_fields(value if reads_access else {**value, "access": None})
    except UnicodeEncodeError as error:
        raise PolicyError("a text is not valid Unicode: half of a surrogate pair") from error
    except RuleError as error:
        raise PolicyError(str(error)) from error


def gather_parts(parts: Mapping[str, object]) -> dict[str, object]:
    """Make a policy document of what was told by key: `platform`, `namespace/NAME`, `node/NAME`.

    Keys that a newer service adds say nothing here.
    """
    platform = parts.get("platform")
    document = dict(platform) if isinstance(platform, dict) else {}
    document["namespaces"] = _below("namespace/", parts)
    document["nodes"] = _below("node/", parts)
    return document


def _below(prefix: str, parts: Mapping[str, object]) -> dict[str, object]:
    return {key.removeprefix(prefix): part for key, part in parts.items() if key.startswith(prefix)}


def policy_version(document: Mapping[str, object]) -> str:
    """Name a policy by its content: equal documents have equal versions, on every replica."""
    return hashlib.sha256(encode(document)).hexdigest()[:16]


def encode(document: Mapping[str, object]) -> bytes:
    """Write a document as one line of JSON, keys sorted."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _parse_fields(value: Mapping[str, object]) -> Policy:
    rules = _parse_label_rules(value.get("labelRules"))
    namespaces = value.get("namespaces")
    access = value.get("access")
    namespace = value.get("namespace", "")
    if not isinstance(namespace, str):
        raise RuleError("namespace", "a string is needed")
    if namespaces is not None and not isinstance(namespaces, dict):
        raise RuleError("namespaces", "a mapping of namespace to labels is needed")
    told = {
        str(name): parse_string_map(labels, f"namespaces.{name}")
        for name, labels in (namespaces or {}).items()
    }
    return Policy(
        namespace=namespace,
        labels=derive_labels(parse_string_map(value.get("labels"), "labels"), rules),
        naming=rules,
        protected=rules.protected,
        relabelings=parse_rules(value.get("metricRelabelings"), "metricRelabelings"),
        access=None if access is None else parse_access_rules(access, "access"),
        namespaces=None
        if namespaces is None
        else {name: derive_labels(labels, rules) for name, labels in told.items()},
        namespace_labels=told,
        nodes=parse_string_map(value.get("nodes"), "nodes"),
        endpoint_relabelings=_parse_endpoints(value.get("endpointRelabelings")),
    )


def _parse_endpoints(value: object) -> dict[str, tuple[Rule, ...]]:
    path = "endpointRelabelings"
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RuleError(path, "a mapping of endpoint to rules is needed")
    return {str(name): parse_rules(rules, f"{path}.{name}") for name, rules in value.items()}


def _parse_label_rules(value: object) -> LabelRules:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise RuleError("labelRules", "a mapping is needed")
    unknown = sorted(map(str, set(value) - _RULE_FIELDS))
    if unknown:
        raise RuleError(f"labelRules.{unknown[0]}", "not one of rename, prefix, protected")
    prefix = value.get("prefix", "")
    if not isinstance(prefix, str):
        raise RuleError("labelRules.prefix", "a string is needed")
    return LabelRules(
        exclude=(),
        rename=parse_string_map(value.get("rename"), "labelRules.rename"),
        prefix=prefix,
        protected=frozenset(parse_string_list(value.get("protected"), "labelRules.protected")),
    )

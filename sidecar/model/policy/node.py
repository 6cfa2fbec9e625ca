"""The policy of role `node`.

Keys are `platform`, `namespace/NAME` and `node/NAME`; a file has the same in one document.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.errors import PolicyError, RuleError
from sidecar.model.fields import Fields, read_text
from sidecar.model.labels.relabel import Rule
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import (
    NAMESPACE_PREFIX,
    PLATFORM_KEY,
    KeyChange,
    KeyedPolicy,
    KeyKind,
    KeySchema,
    apply_keys,
    read_platform_series,
)

KUBELET_ENDPOINTS = (
    "/metrics",
    "/metrics/cadvisor",
    "/metrics/resource",
    "/metrics/probes",
    "/metrics/slis",
)
"""The endpoints that a node proxy serves, at the kubelet's own paths."""
NODE_PREFIX = "node/"
_PLATFORM_FIELDS = frozenset(["labelRules", "metricRelabelings", "endpointRelabelings"])
_FILE_FIELDS = _PLATFORM_FIELDS | {"namespaces", "nodes"}


@dataclass(frozen=True, kw_only=True)
class NodePolicy(KeyedPolicy):
    """The policy of a node proxy; the default has no namespace."""

    endpoint_relabelings: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    """Relabel rules by kubelet endpoint, applied after those for all series."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Address, or URL, of each node's kubelet."""


NodeChange = KeyChange[NodePolicy]


def parse_node_policy(value: object) -> NodePolicy:
    """Read a policy document from a file.

    Raises:
        PolicyError: it cannot be used; names the field.
    """
    reader = DocumentReader(Origin.FILE)
    try:
        fields = reader.open(value, _FILE_FIELDS)
        if fields.value.get("namespaces") is None:
            raise PolicyError("namespaces: must be set; a node's series get their labels from it")
        keys: dict[str, object] = {
            PLATFORM_KEY: {
                name: item for name, item in fields.value.items() if name not in _BY_KEY
            },
            **{
                f"{NAMESPACE_PREFIX}{name}": item
                for name, item in fields.mapping("namespaces").items()
            },
            **{f"{NODE_PREFIX}{name}": item for name, item in fields.mapping("nodes").items()},
        }
        return apply_keys(NODE_KEYS, None, {}, keys, reader=reader).policy
    except RuleError as error:
        raise PolicyError(str(error)) from error


_BY_KEY = ("namespaces", "nodes")


def _read_platform(value: object, present: NodePolicy | None, reader: DocumentReader) -> NodePolicy:
    try:
        fields = reader.open(value, _PLATFORM_FIELDS)
        series = read_platform_series(reader, fields, present)
        endpoints = reader.part(
            fields,
            "endpointRelabelings",
            lambda: _read_endpoints(fields.at("endpointRelabelings"), present, reader),
            last=present,
            pick=lambda policy: policy.endpoint_relabelings,
        )
    except RuleError as error:
        if present is None:
            raise PolicyError(str(error)) from error
        reader.note(f"{PLATFORM_KEY}: {error}; the last good rules stay active")
        return present
    return NodePolicy(series=series, endpoint_relabelings=endpoints)


def _read_endpoints(
    fields: Fields, present: NodePolicy | None, reader: DocumentReader
) -> Mapping[str, tuple[Rule, ...]]:
    reader.check(fields, KUBELET_ENDPOINTS, "an endpoint of a kubelet")
    last = None if present is None else present.endpoint_relabelings
    return {
        name: reader.relabelings(
            fields, name, last=None if last is None else last.get(name, ()), pick=tuple
        )
        for name in KUBELET_ENDPOINTS
        if name in fields.value
    }


NODE_KEYS: KeySchema[NodePolicy] = KeySchema(
    kinds=(
        KeyKind(
            prefix=NODE_PREFIX,
            read=lambda name, value, reader: read_text(value, f"nodes.{name}"),
            objects=lambda policy: policy.nodes,
            with_objects=lambda policy, nodes: replace(policy, nodes=nodes),
        ),
    ),
    read_platform=_read_platform,
    empty=NodePolicy,
)
"""How the policy is read from the stream."""

"""The policy of role `node`: sent by key, so that of 5,000 namespaces only what changed is sent.

Keys are `platform`, `namespace/NAME` and `node/NAME`; a file has the same in one document.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sidecar.errors import PolicyError, RuleError
from sidecar.model.fields import Fields, read_string_map, read_text
from sidecar.model.labels.namespace_labels import LabelRules, derive_labels
from sidecar.model.labels.relabel import Rule
from sidecar.model.policy.document import DocumentReader, Origin, check_unicode
from sidecar.model.policy.series import SeriesPolicy, check_names, read_naming

KUBELET_ENDPOINTS = (
    "/metrics",
    "/metrics/cadvisor",
    "/metrics/resource",
    "/metrics/probes",
    "/metrics/slis",
)
"""What a node proxy serves, under the kubelet's own paths."""
PLATFORM_KEY = "platform"
"""Key of what depends on no namespace and no node."""
NAMESPACE_PREFIX = "namespace/"
NODE_PREFIX = "node/"
_PLATFORM_FIELDS = frozenset(["labelRules", "metricRelabelings", "endpointRelabelings"])
_FILE_FIELDS = _PLATFORM_FIELDS | {"namespaces", "nodes"}


@dataclass(frozen=True, kw_only=True)
class NodePolicy:
    """What a node's proxy does; the default knows no namespace."""

    series: SeriesPolicy = field(default_factory=lambda: SeriesPolicy(namespaces={}))
    """For series of all endpoints; its `namespaces` are all that it has of labels."""
    endpoint_relabelings: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    """Rules for series of one of the kubelet's endpoints, after those for all."""
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of namespaces by their keys, as Kubernetes has them."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Address, or URL, of each node's kubelet."""


class NodeChange(NamedTuple):
    """A policy, and what it changed."""

    policy: NodePolicy
    namespaces: frozenset[str] | None
    """Namespaces whose labels are others than before; None where rules changed."""
    unread: frozenset[str] = frozenset()
    """Keys that could not be read, as a whole or in part."""


def parse_node_policy(value: object) -> NodePolicy:
    """Read a policy document from a file.

    Raises:
        PolicyError: it cannot be used; names the field.
    """
    reader = DocumentReader(Origin.FILE)
    try:
        fields = reader.open(value, _FILE_FIELDS)
        if fields.value.get("namespaces") is None:
            raise PolicyError("namespaces: it is missing; a node's series are labelled by them")
        keys: dict[str, object] = {
            PLATFORM_KEY: {
                name: item for name, item in fields.value.items() if name not in _BY_KEY
            },
            **{f"namespace/{name}": item for name, item in fields.mapping("namespaces").items()},
            **{f"node/{name}": item for name, item in fields.mapping("nodes").items()},
        }
        return apply_keys(None, {}, keys, reader).policy
    except RuleError as error:
        raise PolicyError(str(error)) from error


_BY_KEY = ("namespaces", "nodes")


def apply_keys(
    last: NodePolicy | None,
    before: Mapping[str, object],
    after: Mapping[str, object],
    reader: DocumentReader,
) -> NodeChange:
    """Go from one policy to the next; only keys that differ are read.

    A namespace or node that cannot be read keeps what it had, and the rest goes on.

    Args:
        last: the present policy; None where there is none.
        before: the keys that it was made of; none where there is no policy.
        after: all keys of the next one.
        reader: notes what is not used.

    Raises:
        PolicyError: the platform's part cannot be used, or is missing.
        RuleError: from a file only: a part cannot be used.
    """
    changed = {key for key, value in after.items() if key not in before or before[key] != value}
    gone = [key for key in before if key not in after]
    policy = last or NodePolicy()
    has_new_rules = last is None or PLATFORM_KEY in changed
    unread: set[str] = set()
    if has_new_rules:
        if PLATFORM_KEY not in after:
            raise PolicyError(f"{PLATFORM_KEY}: it is missing")
        problems = len(reader.problems)
        policy = _read_platform(after[PLATFORM_KEY], policy, last, reader)
        if len(reader.problems) > problems:
            unread.add(PLATFORM_KEY)
    tables = _Tables(policy, reader, unread)
    for key in gone:
        tables.drop(key)
    for key in changed - {PLATFORM_KEY}:
        tables.put(key, after[key])
    labels = tables.labels
    touched = {
        key.removeprefix(NAMESPACE_PREFIX)
        for key in (*changed, *gone)
        if key.startswith(NAMESPACE_PREFIX)
    }
    naming = policy.series.naming
    named = {} if has_new_rules else dict(policy.series.namespaces or {})
    _name_labels(named, labels, labels if has_new_rules else touched, naming)
    series = replace(policy.series, namespaces=named)
    policy = replace(policy, series=series, namespace_labels=labels, nodes=tables.nodes)
    changed_labels = None if has_new_rules else frozenset(touched)
    return NodeChange(policy, changed_labels, frozenset(unread))


def _read_platform(
    value: object, policy: NodePolicy, last: NodePolicy | None, reader: DocumentReader
) -> NodePolicy:
    try:
        fields = reader.open(value, _PLATFORM_FIELDS)
        series = SeriesPolicy(
            naming=read_naming(reader, fields),
            relabelings=reader.relabelings(
                fields, "metricRelabelings", None if last is None else last.series.relabelings
            ),
            namespaces={},
        )
        endpoints = _read_endpoints(fields.at("endpointRelabelings"), last, reader)
    except RuleError as error:
        raise PolicyError(str(error)) from error
    return replace(policy, series=series, endpoint_relabelings=endpoints)


def _read_endpoints(
    fields: Fields, last: NodePolicy | None, reader: DocumentReader
) -> dict[str, tuple[Rule, ...]]:
    before = None if last is None else last.endpoint_relabelings
    return {
        str(name): reader.relabelings(
            fields, name, None if before is None else before.get(name, ())
        )
        for name in fields.value
    }


class _Tables:
    """What stands by key, copied from a policy and changed."""

    def __init__(self, policy: NodePolicy, reader: DocumentReader, unread: set[str]) -> None:
        self._naming = policy.series.naming
        self.labels = dict(policy.namespace_labels)
        self.nodes = dict(policy.nodes)
        self._unread = unread
        self._reader = reader

    def drop(self, key: str) -> None:
        self.labels.pop(key.removeprefix(NAMESPACE_PREFIX), None)
        self.nodes.pop(key.removeprefix(NODE_PREFIX), None)

    def put(self, key: str, value: object) -> None:
        try:
            self._read(key, value)
        except (PolicyError, RuleError) as error:
            if self._reader.origin is Origin.FILE:
                raise
            self._unread.add(key)
            self._reader.note(str(error))

    def _read(self, key: str, value: object) -> None:
        if value is None:
            raise RuleError(key, "a value is needed")
        check_unicode([key, value])
        prefix, _, name = key.partition("/")
        if prefix == "namespace":
            labels = read_string_map(value, f"namespaces.{name}")
            check_names(derive_labels(labels, self._naming), f"namespaces.{name}")
            self.labels[name] = labels
        elif prefix == "node":
            self.nodes[name] = read_text(value, f"nodes.{name}")
        else:
            self._reader.ignore(key)


def _name_labels(
    named: dict[str, Mapping[str, str]],
    labels: Mapping[str, Mapping[str, str]],
    touched: Iterable[str],
    naming: LabelRules,
) -> None:
    for name in touched:
        if name in labels:
            named[name] = derive_labels(labels[name], naming)
        else:
            named.pop(name, None)

"""The policy of role `node`: sent by key, so that of 5,000 namespaces only what changed is sent.

Keys are `platform`, `namespace/NAME` and `node/NAME`; a file has the same in one document.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from sidecar.errors import PolicyError, RuleError
from sidecar.model.fields import Fields, read_string_map, read_text
from sidecar.model.labels.namespace_labels import LabelRules, derive_labels
from sidecar.model.labels.relabel import Rule
from sidecar.model.policy.document import DocumentReader, Origin, check_text
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
    """What a node's proxy does; the default has no namespace."""

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
    ignored: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Paths that this proxy does not know, by the key under which they stand."""


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
            **{
                f"{NAMESPACE_PREFIX}{name}": item
                for name, item in fields.mapping("namespaces").items()
            },
            **{f"{NODE_PREFIX}{name}": item for name, item in fields.mapping("nodes").items()},
        }
        return apply_keys(None, {}, keys, reader).policy
    except RuleError as error:
        raise PolicyError(str(error)) from error


_BY_KEY = ("namespaces", "nodes")


def apply_keys(
    last: NodeChange | None,
    before: Mapping[str, object],
    after: Mapping[str, object],
    reader: DocumentReader,
) -> NodeChange:
    """Go from one policy to the next; only keys that differ are read.

    A key that cannot be read keeps its last good value, and the others go on.

    Args:
        last: the present policy; None at the start.
        before: the keys that it was made of; without any, all that is known of keys comes anew.
        after: all keys of the next one.
        reader: notes what is not used.

    Raises:
        PolicyError: the platform's part is of a newer schema, or cannot be read at the start.
        RuleError: from a file only: a part cannot be used.
    """
    changed = {key for key, value in after.items() if key not in before or before[key] != value}
    tables = _Tables(last if before else None, reader)
    for key in before.keys() - after.keys():
        tables.drop(key)
    has_new_rules = last is None or PLATFORM_KEY in changed
    policy = NodePolicy() if last is None else last.policy
    if has_new_rules:
        if PLATFORM_KEY not in after:
            raise PolicyError(f"{PLATFORM_KEY}: it is missing")
        with tables.reading(PLATFORM_KEY):
            policy = _read_platform(after[PLATFORM_KEY], last, reader)
    for key in changed - {PLATFORM_KEY}:
        tables.put(key, after[key], policy.series.naming)
    labels, touched = tables.labels, tables.touched
    named = {} if has_new_rules else dict(policy.series.namespaces or {})
    _name_labels(named, labels, labels if has_new_rules else touched, policy.series.naming)
    series = replace(policy.series, namespaces=named)
    policy = replace(policy, series=series, namespace_labels=labels, nodes=tables.nodes)
    changed_labels = None if has_new_rules else frozenset(touched)
    return NodeChange(policy, changed_labels, frozenset(tables.unread), tables.ignored)


def _read_platform(value: object, last: NodeChange | None, reader: DocumentReader) -> NodePolicy:
    present = None if last is None else last.policy
    try:
        fields = reader.open(value, _PLATFORM_FIELDS)
        before = None if present is None else present.series
        series = SeriesPolicy(
            naming=read_naming(reader, fields, before),
            relabelings=reader.relabelings(
                fields, "metricRelabelings", last=before, pick=lambda series: series.relabelings
            ),
            namespaces={},
        )
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


class _Tables:
    """What stands by key, copied from a policy and changed."""

    def __init__(self, last: NodeChange | None, reader: DocumentReader) -> None:
        policy = NodePolicy() if last is None else last.policy
        self.labels = dict(policy.namespace_labels)
        self.nodes = dict(policy.nodes)
        self.ignored = {} if last is None else dict(last.ignored)
        self.touched: set[str] = set()
        """Namespaces whose labels were written or dropped."""
        self.unread: set[str] = set()
        self._reader = reader

    def drop(self, key: str) -> None:
        self.ignored.pop(key, None)
        if key.startswith(NAMESPACE_PREFIX):
            name = key.removeprefix(NAMESPACE_PREFIX)
            if self.labels.pop(name, None) is not None:
                self.touched.add(name)
        elif key.startswith(NODE_PREFIX):
            self.nodes.pop(key.removeprefix(NODE_PREFIX), None)

    def put(self, key: str, value: object, naming: LabelRules) -> None:
        with self.reading(key):
            try:
                self._read(key, value, naming)
            except RuleError as error:
                if self._reader.origin is Origin.FILE:
                    raise
                self._reader.note(str(error))

    @contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Note what is not used of a key."""
        self.ignored.pop(key, None)
        reader = self._reader
        ignored, problems = len(reader.ignored), len(reader.problems)
        yield
        if len(reader.ignored) > ignored:
            self.ignored[key] = tuple(reader.ignored[ignored:])
        if len(reader.problems) > problems:
            self.unread.add(key)

    def _read(self, key: str, value: object, naming: LabelRules) -> None:
        if not key.startswith((NAMESPACE_PREFIX, NODE_PREFIX)):
            self._reader.ignore(key)
            return
        if value is None:
            raise RuleError(key, "a value is needed")
        check_text([key, value], key)
        if key.startswith(NODE_PREFIX):
            name = key.removeprefix(NODE_PREFIX)
            self.nodes[name] = read_text(value, f"nodes.{name}")
            return
        name = key.removeprefix(NAMESPACE_PREFIX)
        labels = read_string_map(value, f"namespaces.{name}")
        check_names(derive_labels(labels, naming), f"namespaces.{name}")
        self.labels[name] = labels
        self.touched.add(name)


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

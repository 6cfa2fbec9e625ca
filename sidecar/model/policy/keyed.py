"""Policies that are sent key by key, so that only the changes among 5,000 namespaces are sent.

Keys are `platform`, `namespace/NAME`, and those of further kinds, which differ by role.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from sidecar.errors import PolicyError, RuleError
from sidecar.model.fields import Fields, read_string_map
from sidecar.model.labels.namespace_labels import LabelRules, derive_labels
from sidecar.model.policy.document import DocumentReader, Origin, check_text
from sidecar.model.policy.series import SeriesPolicy, check_names, read_naming

PLATFORM_KEY = "platform"
"""The key of settings that do not depend on a single object."""
NAMESPACE_PREFIX = "namespace/"


@dataclass(frozen=True, kw_only=True)
class KeyedPolicy:
    """What the policies of roles with keys share; the default has no namespace."""

    series: SeriesPolicy = field(default_factory=lambda: SeriesPolicy(namespaces={}))
    """Settings for all series; labels are only in its `namespaces`."""
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of each namespace, by their Kubernetes keys."""


P = TypeVar("P", bound=KeyedPolicy)
T = TypeVar("T")


class KeyChange(NamedTuple, Generic[P]):
    """A policy, and what it changed."""

    policy: P
    namespaces: frozenset[str] | None
    """Namespaces whose labels changed; None if the rules changed."""
    unread: frozenset[str] = frozenset()
    """Keys that could not be read, as a whole or in part."""
    ignored: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Paths of fields that this proxy does not know, by the key that contains them."""


class KeyKind(NamedTuple, Generic[P, T]):
    """One kind of object; each object has its own key."""

    prefix: str
    """The prefix of its keys."""
    read: Callable[[str, object, DocumentReader], T]
    """Reads an object from the rest of its key and its value; raises RuleError."""
    objects: Callable[[P], Mapping[str, T]]
    """Returns the objects of this kind in a policy."""
    with_objects: Callable[[P, Mapping[str, T]], P]
    grants: bool = False
    """Whether the objects grant something; then one that cannot be read grants nothing."""


class KeySchema(NamedTuple, Generic[P]):
    """How one role reads its keys."""

    kinds: tuple[KeyKind[P, Any], ...]
    """The role's own kinds of objects."""
    read_platform: Callable[[object, P | None, DocumentReader], P]
    """Reads the platform's part; what cannot be read is taken from the previous policy."""
    empty: Callable[[], P]

    def kind_of(self, key: str) -> KeyKind[P, Any] | None:
        """Return the kind of a key; None if it is not one of the role's own kinds."""
        return next((kind for kind in self.kinds if key.startswith(kind.prefix)), None)


def apply_keys(
    schema: KeySchema[P],
    last: KeyChange[P] | None,
    before: Mapping[str, object],
    after: Mapping[str, object],
    *,
    reader: DocumentReader,
) -> KeyChange[P]:
    """Build the next policy from the present one; only keys that differ are read.

    A key that cannot be read keeps its last good value; if it would grant something, it grants
    nothing instead. All other keys take effect.

    Args:
        schema: the role's key schema.
        last: the present policy; None at the start.
        before: the keys that it was made of; if empty, all keys are read again.
        after: all keys of the next policy.
        reader: notes what is not used.

    Raises:
        PolicyError: the platform's part is missing, has a newer schema, or cannot be read at the
            start.
        RuleError: from a file only: a part cannot be used.
    """
    changed = {key for key, value in after.items() if key not in before or before[key] != value}
    # A key that could only be read in part last time is not active as in `before`.
    unread = frozenset() if last is None else last.unread
    changed |= unread & after.keys()
    tables = _Tables(schema, last if before else None, reader)
    for key in (before.keys() | unread) - after.keys():
        tables.drop(key)
    has_new_rules = last is None or PLATFORM_KEY in changed
    policy = schema.empty() if last is None else last.policy
    if has_new_rules:
        if PLATFORM_KEY not in after:
            raise PolicyError(f"{PLATFORM_KEY}: the key is missing")
        with tables.reading(PLATFORM_KEY):
            policy = schema.read_platform(
                after[PLATFORM_KEY], None if last is None else last.policy, reader
            )
    for key in changed - {PLATFORM_KEY}:
        tables.put(key, after[key], policy.series.naming)
    labels, touched = tables.labels, tables.touched
    named = {} if has_new_rules else dict(policy.series.namespaces or {})
    _name_labels(named, labels, labels if has_new_rules else touched, policy.series.naming)
    series = policy.series
    if has_new_rules or touched:
        series = replace(series, namespaces=named)
    policy = replace(policy, series=series, namespace_labels=labels)
    for kind in schema.kinds:
        policy = kind.with_objects(policy, tables.objects[kind.prefix])
    changed_labels = None if has_new_rules else frozenset(touched)
    return KeyChange(policy, changed_labels, frozenset(tables.unread), tables.ignored)


def read_platform_series(
    reader: DocumentReader, fields: Fields, present: KeyedPolicy | None
) -> SeriesPolicy:
    """Read the platform's settings for all series.

    Raises:
        RuleError: they cannot be read, and come from a file or nothing is active yet.
    """
    before = None if present is None else present.series
    return SeriesPolicy(
        naming=read_naming(reader, fields, before),
        relabelings=reader.relabelings(
            fields, "metricRelabelings", last=before, pick=lambda series: series.relabelings
        ),
        namespaces={},
    )


class _Tables(Generic[P]):
    """The values of keys, copied from a policy and then changed."""

    def __init__(
        self, schema: KeySchema[P], last: KeyChange[P] | None, reader: DocumentReader
    ) -> None:
        policy = schema.empty() if last is None else last.policy
        self._schema = schema
        self.labels = dict(policy.namespace_labels)
        self.objects = {kind.prefix: dict(kind.objects(policy)) for kind in schema.kinds}
        """By the prefix of their kind, then by name."""
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
        elif (kind := self._schema.kind_of(key)) is not None:
            self._forget(kind, key)

    def _forget(self, kind: KeyKind[P, Any], key: str) -> None:
        self.objects[kind.prefix].pop(key.removeprefix(kind.prefix), None)

    def put(self, key: str, value: object, naming: LabelRules) -> None:
        with self.reading(key):
            try:
                self._read(key, value, naming)
            except RuleError as error:
                if self._reader.origin is Origin.FILE:
                    raise
                self._reader.note(str(error))
                kind = self._schema.kind_of(key)
                if kind is not None and kind.grants:
                    self._forget(kind, key)

    @contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Note what is not used within a key."""
        self.ignored.pop(key, None)
        reader = self._reader
        ignored, problems = len(reader.ignored), len(reader.problems)
        yield
        if len(reader.ignored) > ignored:
            self.ignored[key] = tuple(reader.ignored[ignored:])
        if len(reader.problems) > problems:
            self.unread.add(key)

    def _read(self, key: str, value: object, naming: LabelRules) -> None:
        kind = self._schema.kind_of(key)
        if kind is None and not key.startswith(NAMESPACE_PREFIX):
            self._reader.ignore(key)
            return
        if value is None:
            raise RuleError(key, "a value is needed")
        check_text([key, value], key)
        if kind is not None:
            name = key.removeprefix(kind.prefix)
            self.objects[kind.prefix][name] = kind.read(name, value, self._reader)
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

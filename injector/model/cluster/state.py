"""The injector's view of the cluster, or of a folder of manifests in its place.

One mutable store without I/O: a source (`injector.files`, `injector.kube`) writes objects,
decisions read them, and listeners are called with the namespace that changed.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from injector.errors import ObjectError
from injector.model.cluster.nodes import kubelet_url
from injector.model.cluster.objects import (
    Namespace,
    Object,
    annotations_of,
    get_text,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
)

Derived = TypeVar("Derived")
NO_NAMESPACE = ""
"""Stands for cluster-scoped objects other than Namespaces, such as nodes and backends."""


class Key(NamedTuple):
    """Identifies an object; the namespace is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str


KINDS = ("Namespace", "MetricAccess", "LimitRange", "Pod", "Node", "Secret")
_CLUSTER_KINDS = frozenset(["Namespace", "Node", "Backends", "Collectors"])
"""The cluster-scoped kinds."""
_BACKENDS = Key("Backends", "", "all")
_COLLECTORS = Key("Collectors", "", "all")


class ClusterState:
    """The objects, by kind and namespace."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[str], None]] = []
        """Called with the namespace in which something changed; `NO_NAMESPACE` for none."""
        self._objects: dict[tuple[str, str], dict[str, Object]] = {}
        self._derived: dict[Key, Any] = {}
        """Values derived from objects, cached until the objects change."""

    def put(self, kind: str, obj: Object) -> None:
        """Add or replace an object.

        Raises:
            ObjectError: its metadata is malformed.
        """
        key = key_of(kind, obj)
        if kind == "Namespace":
            labels_of(obj)
            annotations_of(obj)
        if kind == "Node":
            kubelet_url(obj)
        group = self._objects.setdefault(key[:2], {})
        if group.get(key.name) != obj:
            group[key.name] = obj
            self._derived.pop(key, None)
            self._notify(key)

    def remove(self, key: Key) -> None:
        """Forget an object."""
        self._derived.pop(key, None)
        if self._objects.get(key[:2], {}).pop(key.name, None) is not None:
            self._notify(key)

    def namespace(self, name: str) -> Namespace | None:
        """Return a namespace; None if it is not known (yet)."""
        obj = self._objects.get(("Namespace", ""), {}).get(name)
        return None if obj is None else Namespace(name, labels_of(obj), annotations_of(obj))

    def namespaces(self) -> list[Namespace]:
        """Return all namespaces, by name."""
        names = sorted(self._objects.get(("Namespace", ""), {}))
        return [item for item in map(self.namespace, names) if item is not None]

    def nodes(self) -> dict[str, str]:
        """Return the kubelet URLs of all nodes that have an address, by node name."""
        urls = {name: kubelet_url(obj) for name, obj in self.named("Node", "")}
        return {name: url for name, url in urls.items() if url}

    def secret(self, namespace: str, name: str) -> Object | None:
        """Return a Secret; None if it does not exist or is not read."""
        return self._objects.get(("Secret", namespace), {}).get(name)

    def backends(self) -> Sequence[str] | None:
        """Return the URLs of gateways' Prometheus servers; None if they are not known (yet)."""
        obj = self._objects.get(_BACKENDS[:2], {}).get(_BACKENDS.name)
        return None if obj is None else obj["urls"]

    def put_backends(self, urls: Sequence[str]) -> None:
        """Set the URLs of gateways' Prometheus servers."""
        self.put(_BACKENDS.kind, {"metadata": {"name": _BACKENDS.name}, "urls": list(urls)})

    def collectors(self) -> Sequence[str] | None:
        """Return the pods of collectors that are ready; None if the collectors are not known."""
        obj = self._objects.get(_COLLECTORS[:2], {}).get(_COLLECTORS.name)
        return None if obj is None else obj["pods"]

    def put_collectors(self, pods: Sequence[str]) -> None:
        """Set the pods of collectors that are ready."""
        self.put(_COLLECTORS.kind, {"metadata": {"name": _COLLECTORS.name}, "pods": list(pods)})

    def in_namespace(self, kind: str, namespace: str) -> list[Object]:
        """Return the objects of one kind in a namespace, sorted by name."""
        return [obj for _, obj in self.named(kind, namespace)]

    def named(self, kind: str, namespace: str) -> list[tuple[str, Object]]:
        """Return the names and objects of one kind in a namespace, sorted by name."""
        return sorted(self._objects.get((kind, namespace), {}).items(), key=itemgetter(0))

    def namespaces_with(self, kind: str) -> list[str]:
        """Return the names of namespaces that hold an object of a kind, sorted."""
        return sorted(
            namespace
            for (held, namespace), group in self._objects.items()
            if held == kind and group
        )

    def derive(self, key: Key, parse: Callable[[Object], Derived]) -> Derived:
        """Return the result of `parse` for an object, cached until the object changes.

        Raises:
            KeyError: there is no such object.
        """
        derived: Derived | None = self._derived.get(key)
        if derived is None:
            derived = self._derived[key] = parse(self._objects[key[:2]][key.name])
        return derived

    def _notify(self, key: Key) -> None:
        for listener in self.listeners:
            listener(key.name if key.kind == "Namespace" else key.namespace)


def key_of(kind: str, obj: Object) -> Key:
    """Return the key of an object.

    Raises:
        ObjectError: its metadata is malformed, or it has no name.
    """
    name = name_of(obj) or get_text(metadata_of(obj), "generateName", "metadata")
    if not name:
        raise ObjectError("metadata.name", "missing")
    return Key(kind, "" if kind in _CLUSTER_KINDS else namespace_of(obj), name)

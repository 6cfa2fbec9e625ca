"""What the injector knows of the cluster, or of a folder of manifests that plays one.

One mutable store without I/O: a source (`injector.files`, later `injector.kube`) puts objects in,
decisions read it, and listeners hear which namespace changed.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from injector.errors import ObjectError
from injector.model.objects import (
    Object,
    annotations_of,
    get_text,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
)


class Namespace(NamedTuple):
    """A namespace, as far as Livery cares."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Key(NamedTuple):
    """What names an object; the namespace is empty for a kind that has none."""

    kind: str
    namespace: str
    name: str


KINDS = ("Namespace", "MetricAccess", "LimitRange", "Pod")


class World:
    """The objects, by kind and namespace."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[str], None]] = []
        """Called with the name of a namespace in which something changed."""
        self._objects: dict[tuple[str, str], dict[str, Object]] = {}

    def put(self, kind: str, obj: Object) -> None:
        """Add or replace an object.

        Raises:
            ObjectError: its metadata is malformed.
        """
        key = key_of(kind, obj)
        if kind == "Namespace":
            labels_of(obj)
            annotations_of(obj)
        group = self._objects.setdefault(key[:2], {})
        if group.get(key.name) != obj:
            group[key.name] = obj
            self._tell(key)

    def remove(self, key: Key) -> None:
        """Forget an object."""
        if self._objects.get(key[:2], {}).pop(key.name, None) is not None:
            self._tell(key)

    def namespace(self, name: str) -> Namespace | None:
        """Return a namespace, None where it is not known (yet)."""
        obj = self._objects.get(("Namespace", ""), {}).get(name)
        return None if obj is None else Namespace(name, labels_of(obj), annotations_of(obj))

    def namespaces(self) -> list[Namespace]:
        """Return all namespaces, by name."""
        names = sorted(self._objects.get(("Namespace", ""), {}))
        return [item for item in map(self.namespace, names) if item is not None]

    def in_namespace(self, kind: str, namespace: str) -> list[Object]:
        """Return the objects of one kind in a namespace, by name."""
        group = self._objects.get((kind, namespace), {})
        return [group[name] for name in sorted(group)]

    def _tell(self, key: Key) -> None:
        for listener in self.listeners:
            listener(key.name if key.kind == "Namespace" else key.namespace)


def key_of(kind: str, obj: Object) -> Key:
    """Name an object of a kind.

    Raises:
        ObjectError: its metadata is malformed, or it has no name.
    """
    name = name_of(obj) or get_text(metadata_of(obj), "generateName", "metadata")
    if not name:
        raise ObjectError("metadata.name", "it is missing")
    return Key(kind, "" if kind == "Namespace" else namespace_of(obj), name)

"""What the injector knows of the cluster, or of a folder of manifests that plays one.

One mutable store without I/O: a source (`injector.files`, later `injector.kube`) puts objects in,
decisions read it, and listeners hear which namespace changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from injector.model.objects import (
    Object,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
)


class Namespace(NamedTuple):
    """A namespace, as far as Livery cares."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


Key = tuple[str, str, str]
"""Kind, namespace (empty for none), name."""

KINDS = ("Namespace", "MetricAccess", "LimitRange", "Pod")


@dataclass
class World:
    """The objects by kind, namespace and name."""

    objects: dict[Key, Object] = field(default_factory=dict)
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    """Called with the name of a namespace in which something changed."""

    def put(self, kind: str, obj: Object) -> None:
        """Add or replace an object.

        Raises:
            ObjectError: its metadata is malformed.
        """
        key = (kind, "" if kind == "Namespace" else namespace_of(obj), name_of(obj))
        if kind == "Namespace":
            labels_of(obj), annotations_of(obj)
        if self.objects.get(key) == obj:
            return
        self.objects[key] = obj
        self._tell(key)

    def remove(self, key: Key) -> None:
        """Forget an object."""
        if self.objects.pop(key, None) is not None:
            self._tell(key)

    def namespace(self, name: str) -> Namespace | None:
        """Return a namespace, None where it is not known (yet)."""
        obj = self.objects.get(("Namespace", "", name))
        return None if obj is None else Namespace(name, labels_of(obj), annotations_of(obj))

    def namespaces(self) -> list[Namespace]:
        """Return all namespaces, by name."""
        names = sorted(name for kind, _, name in self.objects if kind == "Namespace")
        return [item for item in map(self.namespace, names) if item is not None]

    def in_namespace(self, kind: str, namespace: str) -> list[Object]:
        """Return the objects of one kind in a namespace, by name."""
        keys = sorted(key for key in self.objects if key[:2] == (kind, namespace))
        return [self.objects[key] for key in keys]

    def _tell(self, key: Key) -> None:
        kind, namespace, name = key
        for listener in self.listeners:
            listener(name if kind == "Namespace" else namespace)

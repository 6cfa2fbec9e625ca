"""Typed access to raw Kubernetes objects: a field of another type than expected is an error.

Objects stay the mappings that were parsed from JSON, not instances of classes: no field is lost.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from injector.errors import ObjectError
from injector.model.cluster.names import INJECT
from sidecar.model.fields import (
    join_path,
    read_mapping,
    read_mappings,
    read_string_map,
    read_text,
)

Object = Mapping[str, Any]


class Namespace(NamedTuple):
    """The parts of a namespace that Livery uses."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def is_labelled(self) -> bool:
        """Whether it is labelled for injection."""
        return self.labels.get(INJECT) == "enabled"


def get_mapping(parent: Object, field: str, path: str = "") -> Object:
    """Return a mapping field; an absent or null one is empty.

    Raises:
        ObjectError: it has another type.
    """
    return read_mapping(parent.get(field), join_path(path, field), ObjectError)


def get_list(parent: Object, field: str, path: str = "") -> list[Object]:
    """Return a list of mappings; an absent or null one is empty.

    Raises:
        ObjectError: it has another type.
    """
    return [*read_mappings(parent.get(field), join_path(path, field), ObjectError)]


def get_strings(parent: Object, field: str, path: str = "") -> Mapping[str, str]:
    """Return a mapping of strings, such as labels; an absent or null one is empty.

    A null value is the empty string, as the API server reads it.

    Raises:
        ObjectError: a value is not a string.
    """
    path = join_path(path, field)
    return read_string_map(parent.get(field), path, ObjectError, null_is_empty=True)


def get_text(parent: Object, field: str, path: str = "") -> str:
    """Return a string field; an absent or null one is empty.

    Raises:
        ObjectError: it has another type.
    """
    return read_text(parent.get(field), join_path(path, field), ObjectError)


def get_names(parent: Object, field: str, path: str = "") -> list[str]:
    """Return the names of a list's items; an item without a name gives an empty one.

    Raises:
        ObjectError: it is not a list of mappings, or a name is not a string.
    """
    path_of_items = join_path(path, field)
    return [get_text(item, "name", path_of_items) for item in get_list(parent, field, path)]


def metadata_of(obj: Object) -> Object:
    """Return the object's metadata."""
    return get_mapping(obj, "metadata")


def labels_of(obj: Object) -> Mapping[str, str]:
    """Return the object's labels."""
    return get_strings(metadata_of(obj), "labels", "metadata")


def annotations_of(obj: Object) -> Mapping[str, str]:
    """Return the object's annotations."""
    return get_strings(metadata_of(obj), "annotations", "metadata")


def name_of(obj: Object) -> str:
    """Return the object's name."""
    return get_text(metadata_of(obj), "name", "metadata")


def namespace_of(obj: Object) -> str:
    """Return the object's namespace; empty if it has none."""
    return get_text(metadata_of(obj), "namespace", "metadata")


def running_containers(pod: Object) -> Iterator[Object]:
    """Yield the containers that run as long as the pod: ordinary ones, then native sidecars."""
    spec = get_mapping(pod, "spec")
    yield from get_list(spec, "containers", "spec")
    for container in get_list(spec, "initContainers", "spec"):
        if container.get("restartPolicy") == "Always":
            yield container

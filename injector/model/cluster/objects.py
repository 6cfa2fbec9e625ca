"""Raw Kubernetes objects, read carefully: what is asked for has its type, or is an error.

Objects stay the mappings that JSON gave: nothing is decoded to types, so no field is ever lost.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from injector.errors import ObjectError
from sidecar.errors import show

Object = Mapping[str, Any]


class Namespace(NamedTuple):
    """A namespace, as far as Livery cares."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def get_mapping(parent: Object, field: str, path: str = "") -> Object:
    """Return a mapping field; an absent or null one is empty.

    Raises:
        ObjectError: it is something else.
    """
    value = parent.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ObjectError(_join(path, field), "a mapping is needed")
    return value


def get_list(parent: Object, field: str, path: str = "") -> list[Object]:
    """Return a list of mappings; an absent or null one is empty.

    Raises:
        ObjectError: it is something else.
    """
    value = parent.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ObjectError(_join(path, field), "a list of mappings is needed")
    return value


def get_strings(parent: Object, field: str, path: str = "") -> Mapping[str, str]:
    """Return a mapping of strings, such as labels; an absent or null one is empty.

    A null value is the empty string, as the API server reads it.

    Raises:
        ObjectError: a value is no string.
    """
    values: Mapping[Any, Any] = get_mapping(parent, field, path)
    for key, value in values.items():
        if value is not None and not isinstance(value, str):
            raise ObjectError(
                f"{_join(path, field)}.{key}", f"a string is needed, not {show(value)}"
            )
    return {key: value or "" for key, value in values.items()}


def get_text(parent: Object, field: str, path: str = "") -> str:
    """Return a string field; an absent or null one is empty.

    Raises:
        ObjectError: it is something else.
    """
    value = parent.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ObjectError(_join(path, field), "a string is needed")
    return value


def get_names(parent: Object, field: str, path: str = "") -> list[str]:
    """Return the names of a list's items; one without is empty.

    Raises:
        ObjectError: it is no list of mappings, or a name is no string.
    """
    return [get_text(item, "name", _join(path, field)) for item in get_list(parent, field, path)]


def metadata_of(obj: Object) -> Object:
    """The object's metadata."""
    return get_mapping(obj, "metadata")


def labels_of(obj: Object) -> Mapping[str, str]:
    """The object's labels."""
    return get_strings(metadata_of(obj), "labels", "metadata")


def annotations_of(obj: Object) -> Mapping[str, str]:
    """The object's annotations."""
    return get_strings(metadata_of(obj), "annotations", "metadata")


def name_of(obj: Object) -> str:
    """The object's name."""
    return get_text(metadata_of(obj), "name", "metadata")


def namespace_of(obj: Object) -> str:
    """The object's namespace; empty for none."""
    return get_text(metadata_of(obj), "namespace", "metadata")


def running_containers(pod: Object) -> Iterator[Object]:
    """Yield the containers that run as long as the pod: ordinary ones, then native sidecars."""
    spec = get_mapping(pod, "spec")
    yield from get_list(spec, "containers", "spec")
    for container in get_list(spec, "initContainers", "spec"):
        if container.get("restartPolicy") == "Always":
            yield container


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field

"""Validated access to the fields of untrusted documents: JSON or YAML, already parsed.

Used for policies, settings, Kubernetes objects and pod lists. Each caller passes, as `error`, the
factory of its own exception, which names the field.
"""

from collections.abc import Callable, Collection
from typing import Any

from sidecar.errors import RuleError, show

MakeError = Callable[[str, str], Exception]
"""Makes an exception from a field's path and a reason."""


_KINDS = {
    str: "a string", int: "a number", float: "a number", bool: "true or false", list: "a list",
    dict: "a mapping", type(None): "null",
}  # fmt: skip


def kind_of(value: object) -> str:
    """Name a value's type without showing the value, since it may be a secret."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _kind_of_list(value: object) -> str:
    if not isinstance(value, list):
        return kind_of(value)
    return f"a list with {' and '.join(sorted(set(map(kind_of, value))))}"


def join_path(path: str, key: str) -> str:
    """Return the path of a field within the mapping at `path`."""
    return f"{path}.{key}" if path else key


def read_mapping(value: object, path: str, error: MakeError = RuleError) -> dict[Any, Any]:
    """Return a mapping; null is read as an empty one.

    Raises:
        Exception: made by `error`; the value is not a mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise error(path, f"a mapping is needed, not {kind_of(value)}")
    return value


def read_string_map(
    value: object, path: str, error: MakeError = RuleError, *, null_is_empty: bool = False
) -> dict[str, str]:
    """Return a mapping of strings; null is read as an empty one.

    Args:
        value: the parsed value.
        path: its path in the document.
        error: makes the exception.
        null_is_empty: whether a null item is read as the empty string, as in Kubernetes.

    Raises:
        Exception: made by `error`; the value is not a mapping of strings.
    """
    found = read_mapping(value, path, error)
    for key, item in found.items():
        if not isinstance(key, str):
            raise error(path, f"a key must be a string, not {kind_of(key)}")
        if not isinstance(item, str) and not (null_is_empty and item is None):
            raise error(join_path(path, key), f"a string is needed, not {show(item)}")
    return {key: item or "" for key, item in found.items()}


def read_string_list(value: object, path: str, error: MakeError = RuleError) -> tuple[str, ...]:
    """Return a list of strings; null is read as an empty one.

    Raises:
        Exception: made by `error`; the value is not a list of strings.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise error(path, f"a list of strings is needed, not {_kind_of_list(value)}")
    return tuple(value)


def read_mappings(value: object, path: str, error: MakeError = RuleError) -> list[dict[Any, Any]]:
    """Return a list of mappings; null is read as an empty one.

    Raises:
        Exception: made by `error`; the value is not a list of mappings.
    """
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise error(path, f"a list of mappings is needed, not {_kind_of_list(value)}")
    return value


def read_text(value: object, path: str, error: MakeError = RuleError) -> str:
    """Return a string; null is read as the empty string.

    Raises:
        Exception: made by `error`; the value is not a string.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise error(path, f"a string is needed, not {kind_of(value)}")
    return value


def read_flag(
    value: object, path: str, error: MakeError = RuleError, *, default: bool = False
) -> bool:
    """Return true or false; null is read as the default.

    Raises:
        Exception: made by `error`; the value is not a boolean.
    """
    if value is None:
        return default
    if not isinstance(value, bool):
        raise error(path, f"true or false is needed, not {kind_of(value)}")
    return value


class Fields:
    """The fields of one mapping.

    Args:
        value: the mapping; null is read as an empty one.
        path: its path; empty for a whole document.
        error: makes exceptions.

    Raises:
        Exception: made by `error`; the value is not a mapping.
    """

    def __init__(self, value: object, path: str = "", error: MakeError = RuleError) -> None:
        self.value: dict[Any, Any] = read_mapping(value, path, error)
        self.path = path
        self._error = error

    def name(self, key: str) -> str:
        """Return a field's path."""
        return join_path(self.path, key)

    def unknown(self, known: Collection[str]) -> list[str]:
        """Return the keys that are not in `known`, sorted."""
        return sorted(map(str, set(self.value) - set(known)))

    def refuse_unknown(self, known: Collection[str], what: str) -> None:
        """Reject fields that are not in `known`.

        Args:
            known: the allowed fields.
            what: how the message calls a field, as in "not a setting".

        Raises:
            Exception: made by `error`; there is an unknown field, and it names the first.
        """
        for key in self.unknown(known):
            names = ", ".join(sorted(known))
            raise self._error(self.name(key), f"not {what} (known here: {names})")

    def text(self, key: str) -> str:
        """Return a string, empty if it is absent or null."""
        return read_text(self.value.get(key), self.name(key), self._error)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return true or false."""
        return read_flag(self.value.get(key), self.name(key), self._error, default=default)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        return read_string_list(self.value.get(key), self.name(key), self._error)

    def string_map(self, key: str) -> dict[str, str]:
        """Return a mapping of strings."""
        return read_string_map(self.value.get(key), self.name(key), self._error)

    def mapping(self, key: str) -> dict[Any, Any]:
        """Return a mapping."""
        return read_mapping(self.value.get(key), self.name(key), self._error)

    def at(self, key: str) -> "Fields":
        """Return the fields of a mapping, empty if it is absent or null."""
        return Fields(self.value.get(key), self.name(key), self._error)

    def each(self, key: str) -> "list[Fields]":
        """Return the fields of each mapping in a list."""
        items = read_mappings(self.value.get(key), self.name(key), self._error)
        return [
            Fields(item, f"{self.name(key)}[{at}]", self._error) for at, item in enumerate(items)
        ]

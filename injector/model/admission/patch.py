"""JSON Patch operations on a raw object.

Source: https://www.rfc-editor.org/rfc/rfc6902 and https://www.rfc-editor.org/rfc/rfc6901
"""

from collections.abc import Mapping
from typing import Any

from injector.model.cluster.objects import Object

Operation = dict[str, Any]


class PatchBuilder:
    """Collects operations; creates missing parents and records which it created."""

    def __init__(self, obj: Object) -> None:
        self._obj = obj
        self.operations: list[Operation] = []
        self.created: list[str] = []
        """Parents that the object did not have."""
        self.replaced_nulls: list[str] = []
        """Those of them that were null."""

    def put_key(self, parent: tuple[str, ...], key: str, value: object) -> None:
        """Set a key of a mapping."""
        existing = self._mapping(parent)
        if key in existing and existing[key] == value:
            return
        operation = "replace" if key in existing else "add"
        self.operations.append({"op": operation, "path": pointer(*parent, key), "value": value})

    def remove_key(self, parent: tuple[str, ...], key: str) -> None:
        """Remove an existing key."""
        self.operations.append({"op": "remove", "path": pointer(*parent, key)})

    def insert(self, parent: tuple[str, ...], index: int | None, value: object) -> None:
        """Insert an item into a list at an index; None appends."""
        if self._find(parent) is None:
            self._create(parent, [])
            index = None
        place = "-" if index is None else str(index)
        self.operations.append({"op": "add", "path": pointer(*parent, place), "value": value})

    def _mapping(self, parent: tuple[str, ...]) -> Mapping[str, Any]:
        found = self._find(parent)
        if found is None:
            self._create(parent, {})
            return {}
        return found  # type: ignore[no-any-return] # the caller names a mapping

    def _create(self, parent: tuple[str, ...], empty: object) -> None:
        if len(parent) > 1 and self._find(parent[:-1]) is None:
            self._create(parent[:-1], {})
        path = pointer(*parent)
        if path not in self.created:
            self.created.append(path)
            if parent[-1] in (self._find(parent[:-1]) or {}):
                self.replaced_nulls.append(path)
            self.operations.append({"op": "add", "path": path, "value": empty})

    def _find(self, path: tuple[str, ...]) -> Any:
        found: Any = self._obj
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found


def pointer(*parts: str) -> str:
    """Return a JSON pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)

"""Builds a policy from a stream of keys.

A connection starts with all keys, or with `current` if the proxy already has them; `synced` ends
each change.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

from sidecar.control.receivers import Received
from sidecar.model.policy.document import MAX_NOTES, DocumentReader, Origin
from sidecar.model.policy.keyed import KeyChange, KeyedPolicy, KeySchema, apply_keys

P = TypeVar("P", bound=KeyedPolicy)


class KeyedPolicyReceiver(Generic[P]):
    """Receives the policy of a role whose keys have a schema."""

    def __init__(self, schema: KeySchema[P]) -> None:
        self._schema = schema
        self._last: KeyChange[P] | None = None
        self._applied: dict[str, object] = {}
        """The keys of the active policy that could be read."""
        self._synced: dict[str, object] = {}
        """All keys at the last `synced`."""
        self._keys: dict[str, object] = {}
        """The keys that were received on this connection."""

    def begin(self) -> None:
        """Start a new connection, on which the keys are sent again."""
        self._keys = {}

    def forget(self) -> None:
        """Read all keys again with the next `synced`: the last policy may not be active."""
        self._applied = {}

    def take(self, kind: str, message: Mapping[str, object]) -> Received[KeyChange[P]] | None:
        """Process a message; returns a policy if the message completes one.

        Raises:
            PolicyError: the policy cannot be used; the last one stays active.
        """
        key = str(message.get("key", ""))
        if kind == "put":
            self._keys[key] = message.get("value")
        elif kind == "delete":
            self._keys.pop(key, None)
        elif kind == "current":
            self._keys = dict(self._synced)
        elif kind == "synced":
            return self._apply()
        return None

    def _apply(self) -> Received[KeyChange[P]]:
        reader = DocumentReader(Origin.STREAM)
        self._last = apply_keys(self._schema, self._last, self._applied, self._keys, reader=reader)
        self._synced = dict(self._keys)
        # A key that could not be read is tried again with the next change, and reported again.
        before = {key: self._applied[key] for key in self._last.unread if key in self._applied}
        read = {key: item for key, item in self._keys.items() if key not in self._last.unread}
        self._applied = {**read, **before}
        ignored = tuple(path for paths in self._last.ignored.values() for path in paths)
        return Received(self._last, ignored[:MAX_NOTES], tuple(reader.problems))

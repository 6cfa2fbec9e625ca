"""A policy's labels, encoded for a client: names and values escaped."""

from collections.abc import Collection, Mapping

from sidecar.model.exposition.escapes import escape
from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.names import escape_name
from sidecar.model.policy.series import SeriesPolicy

Pairs = tuple[tuple[bytes, bytes], ...]
"""Encoded names and values of labels."""


class Encoding:
    """A policy's labels, encoded for one kind of client; many targets share it.

    Names are always compared in escaped form: two names may be equal after escaping.
    """

    def __init__(self, policy: SeriesPolicy, escaping: Escaping) -> None:
        self.escaping = escaping
        self.protected = frozenset(self.escape(name.encode()) for name in policy.protected)
        self.own = self.encode(policy.labels)
        self.by_namespace: dict[bytes, Pairs] = {}
        self.update(policy, policy.namespaces or ())

    def update(self, policy: SeriesPolicy, namespaces: Collection[str]) -> None:
        """Encode the labels of some namespaces again.

        Existing rewriters keep the old mapping.
        """
        by_namespace = dict(self.by_namespace)
        for name in namespaces:
            labels = (policy.namespaces or {}).get(name)
            if labels is None:
                by_namespace.pop(name.encode(), None)
            else:
                by_namespace[name.encode()] = self.encode(labels)
        self.by_namespace = by_namespace

    def escape(self, name: bytes) -> bytes:
        """Escape a label name."""
        return escape_name(name, self.escaping, colons=False) if name else name

    def encode(self, labels: Mapping[str, str]) -> Pairs:
        """Encode labels."""
        return tuple(
            (self.escape(name.encode()), escape(value.encode())) for name, value in labels.items()
        )


class EncodedPolicy:
    """A policy, and its encoded labels for each kind of client seen so far."""

    def __init__(self, policy: SeriesPolicy) -> None:
        self.policy = policy
        self._encodings: dict[Escaping, Encoding] = {}

    def encoding(self, escaping: Escaping) -> Encoding:
        """Return the policy's labels, encoded for a kind of client."""
        if escaping not in self._encodings:
            self._encodings[escaping] = Encoding(self.policy, escaping)
        return self._encodings[escaping]

    def update(self, policy: SeriesPolicy, namespaces: Collection[str]) -> None:
        """Switch to a policy that differs only in the labels of some namespaces."""
        self.policy = policy
        for encoding in self._encodings.values():
            encoding.update(policy, namespaces)

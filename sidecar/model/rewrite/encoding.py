"""A policy's labels as a client reads them: names escaped, values between quotes."""

from collections.abc import Collection, Mapping

from sidecar.model.exposition.escapes import escape
from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.names import escape_name
from sidecar.model.policy.series import SeriesPolicy

Pairs = tuple[tuple[bytes, bytes], ...]
"""Names and values of labels, as they are written."""


class Encoding:
    """A policy's labels for one kind of client; many targets share it.

    All names are compared as the client will see them: two may be one after escaping.
    """

    def __init__(self, policy: SeriesPolicy, escaping: Escaping) -> None:
        self.escaping = escaping
        self.protected = frozenset(self.escape(name.encode()) for name in policy.protected)
        self.own = self.encode(policy.labels)
        self.by_namespace: dict[bytes, Pairs] = {}
        self.update(policy, policy.namespaces or ())

    def update(self, policy: SeriesPolicy, namespaces: Collection[str]) -> None:
        """Encode the labels of some namespaces anew.

        Rewriters that have the mapping already keep the old one.
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
        """Write a label's name."""
        return escape_name(name, self.escaping, colons=False) if name else name

    def encode(self, labels: Mapping[str, str]) -> Pairs:
        """Write labels."""
        return tuple(
            (self.escape(name.encode()), escape(value.encode())) for name, value in labels.items()
        )


class EncodedPolicy:
    """A policy, and its labels for each kind of client that asked."""

    def __init__(self, policy: SeriesPolicy) -> None:
        self.policy = policy
        self._encodings: dict[Escaping, Encoding] = {}

    def encoding(self, escaping: Escaping) -> Encoding:
        """Return its labels for a kind of client."""
        if escaping not in self._encodings:
            self._encodings[escaping] = Encoding(self.policy, escaping)
        return self._encodings[escaping]

    def update(self, policy: SeriesPolicy, namespaces: Collection[str]) -> None:
        """Go on with a policy that differs in the labels of some namespaces only."""
        self.policy = policy
        for encoding in self._encodings.values():
            encoding.update(policy, namespaces)

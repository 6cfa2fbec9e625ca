"""What a proxy may know."""

from typing import NamedTuple


class Scope(NamedTuple):
    """Everything that decides about a proxy's policy; proxies of one scope share one policy."""

    role: str
    namespace: str = ""
    """Its own; empty for a role that belongs to no namespace."""
    knows_all_labels: bool = False
    """Whether it may know every namespace's labels."""

    def concerns(self, namespaces: frozenset[str]) -> bool:
        """Tell whether a change in one of these namespaces may change the policy."""
        return self.knows_all_labels or self.namespace in namespaces

"""What a proxy may know."""

from typing import NamedTuple

EVERY_NAMESPACE = "*"


class Scope(NamedTuple):
    """Everything that decides about a proxy's policy; proxies of one scope share one policy."""

    role: str
    namespace: str = ""
    """Its own; empty for a role that belongs to no namespace."""
    knows_all_labels: bool = False
    """Whether it may know every namespace's labels."""
    pods_of: tuple[str, ...] = ()
    """Namespaces whose pods it may know, sorted; `*` alone stands for all."""
    knows_every_tenant: bool = False
    """Whether it may know every namespace's access rules."""

    pod: str = ""
    """Its name, where proxies of a role share the work."""

    def concerns(self, namespaces: frozenset[str]) -> bool:
        """Tell whether a change in one of these namespaces may change the policy."""
        if self.knows_all_labels or self.knows_every_tenant:
            return True
        if self.namespace and self.namespace in namespaces:
            return True
        return any(map(self.knows_pods_of, namespaces))

    def knows_pods_of(self, namespace: str) -> bool:
        """Tell whether it may know a namespace's pods."""
        return bool(namespace) and (self.pods_of == (EVERY_NAMESPACE,) or namespace in self.pods_of)

"""What a proxy may know."""

from typing import NamedTuple

EVERY_NAMESPACE = "*"


class Scope(NamedTuple):
    """Everything that determines a proxy's policy; proxies with equal scopes share one policy."""

    role: str
    namespace: str = ""
    """The proxy's own namespace; empty for a role that is not tied to one."""
    knows_all_labels: bool = False
    """Whether it may know every namespace's labels."""
    pods_of: tuple[str, ...] = ()
    """Namespaces whose pods it may know, sorted; `*` alone stands for all."""
    knows_every_tenant: bool = False
    """Whether it may know every namespace's access rules."""

    pod: str = ""
    """Name of the proxy's pod, if the proxies of a role divide the work."""

    def concerns(self, namespaces: frozenset[str]) -> bool:
        """Return whether a change in one of these namespaces may affect the policy."""
        if self.knows_all_labels or self.knows_every_tenant:
            return True
        if self.namespace and self.namespace in namespaces:
            return True
        return any(map(self.knows_pods_of, namespaces))

    def knows_pods_of(self, namespace: str) -> bool:
        """Return whether the proxy may know a namespace's pods."""
        return bool(namespace) and (self.pods_of == (EVERY_NAMESPACE,) or namespace in self.pods_of)

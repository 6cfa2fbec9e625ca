"""Facts about a target that determine how its series are rewritten."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.model.access.rules import Identity

if TYPE_CHECKING:
    # A pod's proxy has no pod list and does not import the code that reads it.
    from sidecar.model.pods.index import PodIndex

_NOBODY = Identity()


@dataclass(frozen=True, kw_only=True)
class RewriteContext:
    """How one target's series are identified, and to which workload they belong."""

    identity: Identity = _NOBODY
    target_label: str = ""
    """Name of the label that identifies a series' target; empty for none."""
    target: str = ""
    """Value of the target label."""
    target_port: str = ""
    """Value of the additional label `port` if ports were guessed; empty for none."""
    namespace_label: str = ""
    """Label that names the namespace whose labels a series gets; empty for the pod's own."""
    pods: "PodIndex | None" = None
    """Labels by pod, and the pod of each cgroup; None if pods are not looked up."""
    completes: bool = False
    """Whether series without a namespace get namespace, pod and container from their cgroup."""
    never_added: frozenset[bytes] = frozenset()
    """Label names that have a meaning in the target's metrics: they are never added."""
    is_own: bool = False
    """Whether the series are the proxy's own, whose names no application may use."""
    filters: bool = False
    """Whether the policy's access rules decide what is exposed."""
    appended: frozenset[str] = frozenset()
    """Names of labels that the answer appends to the series' own: rules cannot add them."""
    is_labelled: bool = False
    """Whether a proxy has labelled the series already: a label that equals ours is not moved."""
    reserved: frozenset[bytes] = frozenset()
    """Names of metrics that the proxy itself exposes: the target's series are dropped."""
    passed_prefix: bytes = b""
    """Prefix of Livery's metrics that the target may expose nevertheless; empty for none."""

    @property
    def marks(self) -> list[tuple[str, str]]:
        """The labels that identify a series' target."""
        said = [(self.target_label, self.target)] if self.target_label else []
        return [*said, ("port", self.target_port)] if self.target_port else said

"""Facts about a target that decide what becomes of its series."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.model.access.rules import Identity

if TYPE_CHECKING:
    # A pod's proxy has no list of pods and does not load its reader.
    from sidecar.model.pods.index import PodIndex

_NOBODY = Identity()


@dataclass(frozen=True, kw_only=True)
class RewriteContext:
    """How one target's series are kept apart, and whose they are."""

    identity: Identity = _NOBODY
    target_label: str = ""
    """Name of the label that says which target a series came from; empty for none."""
    target: str = ""
    """Its value."""
    target_port: str = ""
    """Value of the label `port` beside it, where ports were guessed; empty for none."""
    namespace_label: str = ""
    """Label of a series that names the namespace whose labels it gets; empty: the pod's own."""
    pods: "PodIndex | None" = None
    """Labels of series by the pod that they name, and the owner of a bare cgroup."""
    completes: bool = False
    """Whether a series with a cgroup and no namespace is given its pod's."""
    never_added: frozenset[bytes] = frozenset()
    """Names of labels that the target gives a meaning: nothing of ours takes them."""
    is_own: bool = False
    """Whether the series are the proxy's own, whose names no application may use."""
    filters: bool = False
    """Whether the policy's access rules decide what is exposed."""
    appended: frozenset[str] = frozenset()
    """Names of labels that the answer puts after the series' own: no rule may set them."""
    is_labelled: bool = False
    """Whether a proxy has labelled the series already: a label that is equal to ours is ours."""
    reserved: frozenset[bytes] = frozenset()
    """Names of metrics that the proxy itself exposes: the target's own are left out."""
    passed_prefix: bytes = b""
    """Begins names of Livery's metrics that the target may expose all the same; empty for none."""

    @property
    def marks(self) -> list[tuple[str, str]]:
        """The labels that say which target a series came from."""
        said = [(self.target_label, self.target)] if self.target_label else []
        return [*said, ("port", self.target_port)] if self.target_port else said

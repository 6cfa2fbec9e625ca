"""How the metrics of many pods become one exposition, and its bounds."""

from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.model.exposition.limits import MIB, Limits


class OnConflict(Described):
    """What becomes of a pod's own label that has the name of one of ours."""

    EXPORTED = "exported", "its value moves to exported_<name>, and ours is put in its place"
    KEEP = "keep", "it stays, for exporters of other objects' metrics that the platform trusts"


class PodsSettings(NamedTuple):
    """Labels and names."""

    namespace_label: str = "namespace"
    """Label of each series that names its pod's namespace."""
    pod_label: str = "pod"
    """Label that names its pod."""
    target_label: str = "container"
    """Label that distinguishes several targets of one pod."""
    up_name: str = "up"
    """Metric that says of each target whether its scrape succeeded."""
    on_conflict: OnConflict = OnConflict.EXPORTED
    moved: frozenset[str] = frozenset(["job", "instance", "namespace", "pod"])
    """Labels of the pods' own that are moved, beside ours and the protected ones."""

    @property
    def identity(self) -> tuple[str, str]:
        """The labels that every series gets."""
        return self.namespace_label, self.pod_label


class PodsLimits(NamedTuple):
    """Bounds of one scrape of all pods; the defaults fit a container of 512 MiB."""

    target: Limits = Limits()
    """Of each target."""
    target_bytes: int = 10 * MIB
    """Of one target's body, decompressed."""
    small_bytes: int = 64 * MIB
    """Of all bodies that arrive, as far as each is small."""
    waiting_bytes: int = 64 * MIB
    """Of large bodies that arrive or wait to be read, together: so many at once."""
    samples: int = 1_000_000
    """Of all targets together; beyond, the largest of the largest namespace are left out."""
    cache_bytes: int = 96 * MIB
    """Of all series that are cached, for all kinds of clients."""
    uncached_bytes: int = 96 * MIB
    """Of one scrape's series for which the cache had no room."""
    held_bytes: int = 128 * MIB
    """Of answers that slow clients have not taken yet; beyond, scrapes are refused."""
    concurrency: int = 128
    """Targets that are asked at once; one that does not answer soon does not count any more."""

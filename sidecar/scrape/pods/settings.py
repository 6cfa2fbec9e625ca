"""Names and limits for merging the metrics of many pods into one exposition."""

from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.model.exposition.limits import MIB, Limits


class OnConflict(Described):
    """Handling of a pod's own label that has the name of an added one."""

    EXPORTED = "exported", "its value moves to exported_<name>, and the added label replaces it"
    KEEP = "keep", "it stays; only for trusted exporters of other objects' metrics"


class PodsSettings(NamedTuple):
    """Label and metric names."""

    namespace_label: str = "namespace"
    """Label that holds the namespace of a series' pod."""
    pod_label: str = "pod"
    """Label that holds the name of a series' pod."""
    target_label: str = "container"
    """Label that distinguishes several targets of one pod."""
    up_name: str = "up"
    """Metric that shows whether the scrape of each target succeeded."""
    on_conflict: OnConflict = OnConflict.EXPORTED
    moved: frozenset[str] = frozenset(["job", "instance", "namespace", "pod"])
    """Pods' own labels that are moved, in addition to added and protected names."""

    @property
    def identity(self) -> tuple[str, str]:
        """The labels that every series gets."""
        return self.namespace_label, self.pod_label


class PodsLimits(NamedTuple):
    """Limits of one scrape of all pods; the defaults fit a container of 512 MiB."""

    target: Limits = Limits()
    """Limits of each target."""
    target_bytes: int = 10 * MIB
    """Size of one target's body, decompressed."""
    small_bytes: int = 64 * MIB
    """Memory pool for the bodies being received, of which each may use a small part."""
    waiting_bytes: int = 64 * MIB
    """Size of large bodies being received or waiting to be parsed; limits how many there are."""
    samples: int = 1_000_000
    """Samples of all targets; above it, the largest of the largest namespace are dropped."""
    cache_bytes: int = 96 * MIB
    """Size of the series caches of all client variants."""
    uncached_bytes: int = 96 * MIB
    """Size of one scrape's series that did not fit into the cache."""
    held_bytes: int = 128 * MIB
    """Size of responses that slow clients have not read yet; above it, scrapes are refused."""
    concurrency: int = 128
    """Targets scraped at once; one that does not respond soon no longer counts."""

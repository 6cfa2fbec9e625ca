"""Selects the pods that an aggregate scrapes from all known pods."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sidecar.model.pods.label_selector import LabelSelector
from sidecar.model.pods.scraped_pod import ScrapedPod
from sidecar.scrape.pods.settings import PodsSettings
from sidecar.scrape.pods.targets import PodTarget, PodTrouble, TargetFinder


class Selection(NamedTuple):
    """Targets to scrape, warnings about pods, and counts of matching pods."""

    targets: tuple[PodTarget, ...] = ()
    troubles: tuple[PodTrouble, ...] = ()
    running: int = 0
    """Matching pods that are running and opt in to scraping."""
    silent: int = 0
    """Matching pods that are running and do not opt in to scraping."""
    waiting: int = 0
    """Matching pods that are not running yet, or no longer."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to scrape."""
        return not self.targets

    def describe(self, selector: LabelSelector, where: str) -> str:
        """Return why there is nothing to scrape."""
        counted = [
            (self.silent, 'without prometheus.io/scrape: "true"'),
            (self.waiting, "not running"),
            (self.running, "without a usable target"),
        ]
        found = ", ".join(f"{count} {what}" for count, what in counted if count)
        matching = f" that matches {selector.text!r}" if selector.text else ""
        if not found:
            return f"there is no pod{matching} in {where}"
        return f"no pod{matching} in {where} can be scraped: {found}"


class PodSelector:
    """Selects pods and finds their targets; results for unchanged pods are cached.

    Args:
        selector: label selector.
        namespaces: the pods' namespaces; empty for all.
        settings: label names.
        allows_local: whether pods may have loopback and link-local addresses.
    """

    def __init__(
        self,
        selector: LabelSelector,
        namespaces: Sequence[str],
        settings: PodsSettings,
        *,
        allows_local: bool,
    ) -> None:
        self._selector = selector
        self._namespaces = frozenset(namespaces)
        self._finder = TargetFinder(settings, allows_local=allows_local)

    def select(self, pods: Iterable[ScrapedPod]) -> Selection:
        """Return the targets to scrape among these pods."""
        matching = [
            pod
            for pod in pods
            if (not self._namespaces or pod.namespace in self._namespaces)
            and self._selector.matches(pod.labels)
        ]
        asking = [pod for pod in matching if pod.is_running and pod.asks]
        found = self._finder.find(asking)
        running = sum(pod.is_running for pod in matching)
        return Selection(
            found.targets,
            found.troubles,
            running=len(asking),
            silent=running - len(asking),
            waiting=len(matching) - running,
        )

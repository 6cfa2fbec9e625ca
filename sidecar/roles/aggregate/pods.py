"""Which pods an aggregate scrapes: those of its selector, of what is known of all."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sidecar.model.pods.label_selector import LabelSelector
from sidecar.model.pods.scraped_pod import ScrapedPod
from sidecar.scrape.pods.settings import PodsSettings
from sidecar.scrape.pods.targets import PodTarget, PodTrouble, TargetFinder


class Selection(NamedTuple):
    """What is scraped, and what is to be said of the others."""

    targets: tuple[PodTarget, ...] = ()
    troubles: tuple[PodTrouble, ...] = ()
    running: int = 0
    """Pods that match, run and ask to be scraped."""
    silent: int = 0
    """Pods that match and run, and do not ask to be scraped."""
    waiting: int = 0
    """Pods that match and do not run (yet, or any more)."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to scrape."""
        return not self.targets

    def describe(self, selector: LabelSelector, where: str) -> str:
        """Say why there is nothing to scrape, and what to do."""
        counted = [
            (self.silent, 'without prometheus.io/scrape: "true"'),
            (self.waiting, "not running"),
            (self.running, "without a target that can be scraped"),
        ]
        found = ", ".join(f"{count} {what}" for count, what in counted if count)
        matching = f" that matches {selector.text!r}" if selector.text else ""
        if not found:
            return f"there is no pod{matching} in {where}"
        return f"no pod{matching} in {where} can be scraped: {found}"


class PodSelector:
    """Chooses pods; what is known of a pod that did not change is not worked out again.

    Args:
        selector: labels.
        namespaces: of the pods; none for all.
        settings: names of labels.
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
        """Return what is scraped of these pods."""
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

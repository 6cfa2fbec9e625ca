"""Finds the targets of pods, and the labels that distinguish them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.errors import PodsError, SettingsError
from sidecar.model.exposition.formats import Format, parse_protocol
from sidecar.model.pods.names import FALLBACK_PROTOCOL
from sidecar.model.pods.scraped_pod import ScrapedPod, check_addresses, find_pod_targets
from sidecar.model.targets import Target
from sidecar.scrape.pods.settings import PodsSettings


@dataclass(frozen=True, slots=True)
class PodTarget:
    """One target of one pod."""

    uid: str
    namespace: str
    pod: str
    target: Target
    addresses: tuple[str, ...]
    """Addresses of the pod, in the order in which they are tried."""
    marks: tuple[tuple[str, str], ...]
    """Labels that every series of it gets; they are unique to the target."""
    has_proxy: bool = False
    """Whether the pod has a Livery proxy, which has already added labels."""
    fallback: Format | None = None
    """Format of a response with a missing or unsupported Content-Type."""

    key: str = field(init=False)
    """Identity of the target across changes of the pod."""

    def __post_init__(self) -> None:
        """Compute the key once, because every scrape uses it."""
        object.__setattr__(self, "key", f"{self.uid} {self.target}")

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.namespace}/{self.pod} {self.target.url}"


class PodTrouble(NamedTuple):
    """A pod that cannot be scraped, or not as its owner intended."""

    namespace: str
    pod: str
    reason: str

    def __str__(self) -> str:
        """Return it as one sentence."""
        return f"{self.namespace}/{self.pod}: {self.reason}"


class Found(NamedTuple):
    """Targets to scrape, in a stable order, and problems with pods."""

    targets: tuple[PodTarget, ...]
    troubles: tuple[PodTrouble, ...]


class TargetFinder:
    """Finds targets; results for unchanged pods are cached.

    Args:
        settings: label names.
        allows_local: whether pods may have loopback and link-local addresses.
    """

    def __init__(self, settings: PodsSettings, *, allows_local: bool = False) -> None:
        self._settings = settings
        self._allows_local = allows_local
        self._known: dict[str, tuple[ScrapedPod, Found]] = {}
        """By pod uid."""

    def find(self, pods: Iterable[ScrapedPod]) -> Found:
        """Return the targets of running pods that opt in to scraping."""
        known: dict[str, tuple[ScrapedPod, Found]] = {}
        for pod in _newest(pods):
            before = self._known.get(pod.uid)
            is_same = before is not None and before[0] is pod
            known[pod.uid] = before if before and is_same else (pod, self._look_at(pod))
        self._known = known
        return Found(
            tuple(target for _, found in known.values() for target in found.targets),
            tuple(trouble for _, found in known.values() for trouble in found.troubles),
        )

    def _look_at(self, pod: ScrapedPod) -> Found:
        try:
            if not self._allows_local:
                check_addresses(pod)
            found = find_pod_targets(pod)
            fallback = _fallback(pod)
        except (PodsError, SettingsError) as error:
            return Found((), (PodTrouble(pod.namespace, pod.name, str(error)),))
        targets = [
            PodTarget(
                pod.uid, pod.namespace, pod.name, target, pod.addresses,
                _marks(pod, target, found.targets, self._settings), pod.has_proxy, fallback,
            )
            for target in found.targets
        ]  # fmt: skip
        troubles = [PodTrouble(pod.namespace, pod.name, text) for text in found.warnings]
        return Found(tuple(targets), tuple(troubles))


def _newest(pods: Iterable[ScrapedPod]) -> list[ScrapedPod]:
    """Return the pods by name; of two with the same name only the newer: a deletion was missed."""
    chosen: dict[tuple[str, str], ScrapedPod] = {}
    for pod in pods:
        name = (pod.namespace, pod.name)
        other = chosen.get(name)
        if other is None or (other.created, other.uid) < (pod.created, pod.uid):
            chosen[name] = pod
    return [chosen[name] for name in sorted(chosen)]


def _fallback(pod: ScrapedPod) -> Format | None:
    text = pod.annotations.get(FALLBACK_PROTOCOL, "").strip()
    return parse_protocol(text) if text else None


def _marks(
    pod: ScrapedPod, target: Target, all_targets: Sequence[Target], settings: PodsSettings
) -> tuple[tuple[str, str], ...]:
    identity = ((settings.namespace_label, pod.namespace), (settings.pod_label, pod.name))
    if len(all_targets) == 1:
        return identity
    name = (settings.target_label, target.name or str(target.port))
    return (*identity, name, ("port", str(target.port))) if target.is_guess else (*identity, name)

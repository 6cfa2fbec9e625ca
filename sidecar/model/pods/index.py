"""What a node's series wear of their pods, and which pod a bare container id is of.

Some runtimes' series carry a cgroup's path and nothing else (kubernetes#140778): the kubelet's own
list of pods says whose it is.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

from sidecar.model.labels.namespace_labels import LabelRules, select_labels
from sidecar.model.pods.pod_list import Pod

_LIFE = {"Succeeded": 0, "Failed": 0, "Running": 2}
_HEX = "[0-9a-f]"
_POD_SLICE = re.compile(
    rf"pod({_HEX}{{8}}[-_]{_HEX}{{4}}[-_]{_HEX}{{4}}[-_]{_HEX}{{4}}[-_]{_HEX}{{12}}|{_HEX}{{32}})"
)
_POD_END = re.compile(rf"(?:^|[-/:]){_POD_SLICE.pattern}(?:\.slice)?$")
_CONTAINER = re.compile(r"(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?$")
MAX_VALUE_CHARACTERS = 1024
"""Of an annotation that is worn; a longer one is left out."""
_Key = TypeVar("_Key")


class Owner(NamedTuple):
    """Whose a cgroup is; `container` is empty for a pod's own."""

    namespace: str
    pod: str
    container: str = ""


class PodLabels(NamedTuple):
    """Which labels and annotations of pods are worn, as patterns of their keys."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    completes: bool = False
    """Whether series with a cgroup and no namespace are given their pod's."""

    def trim(self, pod: Pod) -> Pod:
        """Return a pod with no more than what is worn of it."""
        return pod._replace(
            labels=_select(pod.labels, self.labels),
            annotations=_select(pod.annotations, self.annotations),
        )


class PodIndex:
    """The pods of one node, by what their series say.

    Args:
        pods: the pods.
        wanted: what is worn of them.
    """

    def __init__(self, pods: Iterable[Pod], wanted: PodLabels) -> None:
        self.worn: dict[tuple[str, str], Mapping[str, str]] = {}
        """Labels and annotations by their keys, by namespace and pod."""
        self._by_uid: dict[str, Owner] = {}
        self._by_container: dict[str, Owner] = {}
        # Of two pods of one name the running one stands last, and of these the newest.
        for pod in sorted(pods, key=lambda pod: (_LIFE.get(pod.phase, 1), pod.created)):
            self._add(pod, wanted)

    def owner(self, cgroup: str) -> Owner | None:
        """Return whose a cgroup's path is; None where it is no pod's of this node.

        What is below a container, or is a sandbox, is nobody's: its parent's sums have it already.
        """
        scope = cgroup.rpartition("/")[2]
        found = _CONTAINER.search(scope)
        # `crio-conmon-<id>` watches a container and is none.
        if found is not None and "conmon" not in scope and found[1] in self._by_container:
            return self._by_container[found[1]]
        ends = _POD_END.search(scope)
        return None if ends is None else self._by_uid.get(ends[1].replace("_", "-"))

    def changes(self, before: "PodIndex") -> set[str]:
        """Return texts of which each series that may wear something else than before holds one."""
        pods = set(_differing(before.worn, self.worn))
        names = {f'"{name}"' for _, name in pods}
        owned = self._marks(lambda owner: owner[:2] in pods)
        owned |= before._marks(lambda owner: owner[:2] in pods)
        uids = _differing(before._by_uid, self._by_uid)
        containers = _differing(before._by_container, self._by_container)
        return {*names, *owned, *_spellings(uids), *containers}

    def marks_of(self, namespaces: Collection[str]) -> set[str]:
        """Return the cgroups of namespaces: their series name them only when they are completed."""
        return self._marks(lambda owner: owner.namespace in namespaces)

    def _marks(self, is_meant: Callable[[Owner], bool]) -> set[str]:
        uids = [uid for uid, owner in self._by_uid.items() if is_meant(owner)]
        ids = [text for text, owner in self._by_container.items() if is_meant(owner)]
        return {*_spellings(uids), *ids}

    def _add(self, pod: Pod, wanted: PodLabels) -> None:
        trimmed = wanted.trim(pod)
        if worn := {**trimmed.annotations, **trimmed.labels}:
            self.worn[pod.namespace, pod.name] = worn
        if wanted.completes:
            self._add_cgroups(pod)

    def _add_cgroups(self, pod: Pod) -> None:
        owner = Owner(pod.namespace, pod.name)
        # Of a static pod the kubelet tells the uid that its cgroup has; what its annotations say of
        # it anybody could write into his own.
        if _POD_SLICE.fullmatch(f"pod{pod.uid}"):
            self._by_uid[pod.uid] = owner
        for container in (*pod.containers, *pod.ephemeral_containers):
            identity = container.id.rpartition("//")[2]
            if identity:
                self._by_container[identity] = owner._replace(container=container.name)


def _select(values: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    if not patterns:
        return {}
    # A label holds 63 bytes; an annotation could blow up every series of its pod.
    short = {key: value for key, value in values.items() if len(value) <= MAX_VALUE_CHARACTERS}
    return select_labels(short, LabelRules(include=patterns, exclude=()))


def _spellings(uids: Iterable[str]) -> set[str]:
    """Return uids as cgroups have them: systemd's with underscores."""
    return {spelling for uid in uids for spelling in (uid, uid.replace("-", "_"))}


def _differing(before: Mapping[_Key, object], after: Mapping[_Key, object]) -> list[_Key]:
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]

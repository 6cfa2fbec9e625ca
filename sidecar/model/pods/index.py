"""Labels that a node's series get from their pods, and the pod that owns a bare container ID.

With some runtimes, series carry only the path of a cgroup (kubernetes#140778). The kubelet's own
pod list identifies its owner.
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
"""Per label or annotation that is copied to series; longer values are dropped."""
_Key = TypeVar("_Key")


class Owner(NamedTuple):
    """The owner of a cgroup; `container` is empty for the cgroup of the pod itself."""

    namespace: str
    pod: str
    container: str = ""


class PodLabels(NamedTuple):
    """Which labels and annotations of pods are copied to series, as patterns of their keys."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    completes: bool = False
    """Whether series with a cgroup and no namespace get the namespace of their pod."""

    def trim(self, pod: Pod) -> Pod:
        """Return a pod with only the labels and annotations that are copied."""
        return pod._replace(
            labels=_select(pod.labels, self.labels),
            annotations=_select(pod.annotations, self.annotations),
        )


class PodIndex:
    """The pods of one node, indexed by what their series carry.

    Args:
        pods: the pods.
        wanted: which of their labels and annotations are copied to series.
    """

    def __init__(self, pods: Iterable[Pod], wanted: PodLabels) -> None:
        self.worn: dict[tuple[str, str], Mapping[str, str]] = {}
        """Copied labels and annotations by their keys, by namespace and pod."""
        self._by_uid: dict[str, Owner] = {}
        self._by_container: dict[str, Owner] = {}
        # Later pods replace earlier ones of the same name: running ones win, then the newest.
        for pod in sorted(pods, key=lambda pod: (_LIFE.get(pod.phase, 1), pod.created)):
            self._add(pod, wanted)

    def owner(self, cgroup: str) -> Owner | None:
        """Return the owner of a cgroup path; None if it belongs to no pod of this node.

        Sandboxes and cgroups below a container have no owner: their parent's sums include them.
        """
        scope = cgroup.rpartition("/")[2]
        found = _CONTAINER.search(scope)
        # `crio-conmon-<id>` monitors a container and is not one itself.
        if found is not None and "conmon" not in scope and found[1] in self._by_container:
            return self._by_container[found[1]]
        ends = _POD_END.search(scope)
        return None if ends is None else self._by_uid.get(ends[1].replace("_", "-"))

    def changes(self, before: "PodIndex") -> set[str]:
        """Return substrings: every series whose labels may change contains at least one."""
        pods = set(_differing(before.worn, self.worn))
        names = {f'"{name}"' for _, name in pods}
        owned = self._marks(lambda owner: owner[:2] in pods)
        owned |= before._marks(lambda owner: owner[:2] in pods)
        uids = _differing(before._by_uid, self._by_uid)
        containers = _differing(before._by_container, self._by_container)
        return {*names, *owned, *_spellings(uids), *containers}

    def marks_of(self, namespaces: Collection[str]) -> set[str]:
        """Return the cgroups of namespaces, whose series name no namespace until completed."""
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
        # For a static pod, the kubelet reports the uid that its cgroup has. Annotations are not
        # used for this: anyone could set them on their own pod.
        if _POD_SLICE.fullmatch(f"pod{pod.uid}"):
            self._by_uid[pod.uid] = owner
        for container in (*pod.containers, *pod.ephemeral_containers):
            identity = container.id.rpartition("//")[2]
            if identity:
                self._by_container[identity] = owner._replace(container=container.name)


def _select(values: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    if not patterns:
        return {}
    # A label value has at most 63 bytes; a long annotation could bloat every series of its pod.
    short = {key: value for key, value in values.items() if len(value) <= MAX_VALUE_CHARACTERS}
    return select_labels(short, LabelRules(include=patterns, exclude=()))


def _spellings(uids: Iterable[str]) -> set[str]:
    """Return uids as they appear in cgroup paths: systemd replaces hyphens by underscores."""
    return {spelling for uid in uids for spelling in (uid, uid.replace("-", "_"))}


def _differing(before: Mapping[_Key, object], after: Mapping[_Key, object]) -> list[_Key]:
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]

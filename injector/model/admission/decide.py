"""Decides whether a pod gets a proxy, and with which settings; `inject.patch` builds the patch.

Both take the pod as the API server sent it. Injection is idempotent: a pod is recognized as
injected by the proxy's container, never by an annotation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from injector.errors import ObjectError
from injector.model.admission.exposition import read_exposition
from injector.model.admission.outcomes import AdmissionWarning, Reason, WarningCode
from injector.model.admission.resources import allot_resources
from injector.model.admission.targets import declared_ports, find_targets
from injector.model.admission.templates import (
    MAX_BOOTSTRAP_BYTES,
    NON_ROOT_USER,
    PodProxy,
    render_bootstrap,
)
from injector.model.admission.windows import is_windows
from injector.model.cluster import names
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_list,
    get_mapping,
    get_names,
    get_text,
    labels_of,
    metadata_of,
    name_of,
)
from injector.model.cluster.selectors import selects
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from sidecar.errors import TargetError
from sidecar.model.labels.namespace_labels import select_labels
from sidecar.model.pods.scrape_annotations import read_scrape_annotations
from sidecar.model.targets import parse_port

DEFAULT_PORT = 16090
_MAX_UNKNOWN = 5
_LAST_DEFAULT_PORT = 65534
_JOB = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:/-]{0,251}[A-Za-z0-9])?")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,127}")


@dataclass(frozen=True)
class Decision:
    """The decision about one pod."""

    reason: Reason
    warnings: tuple[AdmissionWarning, ...] = ()
    proxy: PodProxy | None = None
    detail: str = ""
    """What exactly was malformed."""

    @property
    def sentence(self) -> str:
        """The decision in words."""
        text = self.reason.sentence
        return f"{text}: {self.detail}" if self.detail else text


def decide(
    pod: Object,
    namespace: str,
    cluster: ClusterState,
    platform: Platform,
    *,
    workload: str = "",
    only_labelled: bool = False,
) -> Decision:
    """Decide whether a new pod gets a proxy, and with which settings.

    Args:
        pod: the raw pod; its own namespace field may be empty.
        namespace: the namespace of the request. Its injection label is not checked: the API server
            does that with the webhook's selector, and the cache here may lag.
        cluster: the cluster's state.
        platform: the platform's settings.
        workload: name of the pod's workload, for a pod template, which does not contain it.
        only_labelled: use the labels of a namespace only if it is labelled for injection. The
            webhook's port is open to the whole cluster, and must not reveal others' labels.
    """
    try:
        refusal = _refuse(pod, namespace, platform)
        if refusal is not None:
            return refusal
        # The patch reads these as well and must not fail.
        labels_of(pod)
        get_names(get_mapping(pod, "spec"), "imagePullSecrets", "spec")
        decider = _Decider(pod, namespace, cluster, platform)
        return decider.decide(workload, only_labelled=only_labelled)
    except ObjectError as error:
        return _malformed(str(error))


def _refuse(pod: Object, namespace: str, platform: Platform) -> Decision | None:
    """Apply the rules that need only the pod and the name of its namespace."""
    spec, annotations = get_mapping(pod, "spec"), annotations_of(pod)
    for_windows = is_windows(spec)
    scrape = read_scrape_annotations(annotations)
    inject = annotations.get(names.INJECT)
    containers = get_names(spec, "containers", "spec") + get_names(spec, "initContainers", "spec")
    if namespace in names.SYSTEM_NAMESPACES:
        return Decision(Reason.SYSTEM_NAMESPACE)
    if namespace == platform.own_namespace:
        return Decision(Reason.OWN_NAMESPACE)
    if names.MIRROR_POD in annotations:
        return Decision(Reason.MIRROR_POD)
    if names.PROXY_CONTAINER in containers:
        return Decision(Reason.ALREADY_INJECTED, _foreign_container(spec, annotations, platform))
    if not selects(platform.selection.objects, labels_of(pod)):
        return Decision(Reason.NOT_SELECTED)
    if inject == "false":
        return Decision(Reason.OPTED_OUT)
    warnings = (
        () if inject in (None, "true") else (_bad(names.INJECT, inject, '"true" or "false"'),)
    )
    if inject != "true" and not scrape.asks:
        spelled = map(AdmissionWarning.of, scrape.warnings)
        return Decision(Reason.NOT_ANNOTATED, (*warnings, *spelled))
    if for_windows:
        return Decision(Reason.WINDOWS, _left_alone(Reason.WINDOWS, warnings))
    if not get_list(spec, "containers", "spec"):
        return _malformed("spec.containers: must not be empty")
    return None


def _misspelled(annotations: Mapping[str, str]) -> list[AdmissionWarning]:
    """Warn of annotations that Livery does not have: one that restricts would have no effect."""
    unknown = sorted(
        key
        for key in annotations
        if key.startswith("livery.dev/") and key not in names.POD_ANNOTATIONS
    )
    return [
        AdmissionWarning(
            WarningCode.UNKNOWN_ANNOTATION,
            f"annotation {key[:80]} does not exist and has no effect: is it misspelled?",
        )
        for key in unknown[:_MAX_UNKNOWN]
    ]


def _malformed(detail: str) -> Decision:
    text = f"no proxy was added: {Reason.MALFORMED.sentence}: {detail}"
    warning = AdmissionWarning(WarningCode.LEFT_ALONE, text)
    return Decision(Reason.MALFORMED, (warning,), detail=detail)


def _foreign_container(
    spec: Object, annotations: Mapping[str, str], platform: Platform
) -> tuple[AdmissionWarning, ...]:
    """Warn if a container has the proxy's name but was not added by Livery.

    Livery's container is recognized by its image's repository, whatever the version.
    """
    containers = get_list(spec, "containers", "spec") + get_list(spec, "initContainers", "spec")
    named = [item for item in containers if item.get("name") == names.PROXY_CONTAINER]
    if names.STATUS in annotations and not any(_is_foreign(item, platform) for item in named):
        return ()
    text = f"no proxy was added: the pod has its own container named {names.PROXY_CONTAINER}"
    return (AdmissionWarning(WarningCode.NAME_TAKEN, text),)


def _is_foreign(container: Object, platform: Platform) -> bool:
    """Return whether a container with the proxy's name is not Livery's, by image repository."""
    return _repository(str(container.get("image", ""))) != _repository(platform.image)


def _repository(image: str) -> str:
    """Return an image's name without its tag and digest."""
    return re.sub(r":[^/:]*\Z", "", image.partition("@")[0])


def _bad(key: str, value: str, wanted: str) -> AdmissionWarning:
    text = f"annotation {key}: {value[:60]!r} is not {wanted}; it is ignored"
    return AdmissionWarning(WarningCode.BAD_ANNOTATION, text)


def _left_alone(
    reason: Reason, warnings: tuple[AdmissionWarning, ...]
) -> tuple[AdmissionWarning, ...]:
    text = f"no proxy was added: {reason.sentence}"
    return (*warnings, AdmissionWarning(WarningCode.LEFT_ALONE, text))


class _Ports(NamedTuple):
    data: int
    admin: int


class _Decider:
    """Decides the settings of a pod's proxy and collects warnings."""

    def __init__(
        self, pod: Object, namespace: str, cluster: ClusterState, platform: Platform
    ) -> None:
        self._pod = pod
        self._spec = get_mapping(pod, "spec")
        self._annotations = annotations_of(pod)
        self._namespace = namespace
        self._cluster = cluster
        self._platform = platform
        self._warnings: list[AdmissionWarning] = []

    def decide(self, workload: str, *, only_labelled: bool) -> Decision:
        inject = self._annotations.get(names.INJECT)
        if inject not in (None, "true"):
            self._warnings.append(_bad(names.INJECT, inject, '"true" or "false"'))
        is_on_host = self._spec.get("hostNetwork") is True
        if is_on_host and names.PORT not in self._annotations:
            return self._leave(Reason.HOST_NETWORK)
        scrape = read_scrape_annotations(self._annotations)
        self._warnings += map(AdmissionWarning.of, scrape.warnings)
        found = find_targets(self._pod, self._annotations, scrape.values)
        self._warnings += found.warnings
        if not found.targets:
            return self._leave(Reason.NO_TARGET)
        self._warnings += _misspelled(self._annotations)
        exposition, warnings = read_exposition(self._annotations, self._platform)
        self._warnings += warnings
        limit_ranges = self._cluster.in_namespace("LimitRange", self._namespace)
        allotment = allot_resources(
            self._pod,
            self._annotations,
            limit_ranges,
            defaults=self._platform.sidecar.resources,
            extra_memory_bytes=exposition.extra_memory_bytes,
        )
        self._warnings += allotment.warnings
        if not allotment.is_possible:
            return self._leave(Reason.LIMIT_RANGE)
        ports = self._choose_ports({target.port for target in found.targets}, is_on_host=is_on_host)
        if ports is None:
            return self._leave(Reason.HOST_NETWORK)
        pod_user = get_mapping(self._spec, "securityContext", "spec").get("runAsUser")
        proxy = PodProxy(
            targets=found.targets,
            port=ports.data,
            admin_port=ports.admin,
            is_native=self._is_native(),
            resources=allotment.resources,
            run_as_user=NON_ROOT_USER if pod_user == 0 else None,
            filters=self._choice(names.FILTER, ("none", "metricaccess")) == "metricaccess",
            namespace_label=self._matching(names.NAMESPACE_LABEL, _LABEL_NAME, "a label name"),
            job=self._matching(names.JOB, _JOB, "a job name")
            or workload
            or workload_name(self._pod),
            exposition=exposition,
            namespace_labels=self._bootstrap(only_labelled=only_labelled),
            token_volume=self._free_volume_name(),
        )
        return Decision(Reason.INJECTED, tuple(self._warnings), proxy)

    def _leave(self, reason: Reason) -> Decision:
        return Decision(reason, _left_alone(reason, tuple(self._warnings)))

    def _choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self._annotations.get(key, choices[0])
        if value in choices:
            return value
        self._warnings.append(_bad(key, value, " or ".join(choices)))
        return choices[0]

    def _matching(self, key: str, pattern: re.Pattern[str], what: str) -> str:
        value = self._annotations.get(key, "")
        if not value or pattern.fullmatch(value):
            return value
        self._warnings.append(_bad(key, value, what))
        return ""

    def _is_native(self) -> bool:
        is_native = self._choice(names.SIDECAR, ("native", "container")) == "native"
        if not is_native and self._spec.get("restartPolicy", "Always") != "Always":
            text = "with livery.dev/sidecar: container this pod never completes; use native"
            self._warnings.append(AdmissionWarning(WarningCode.JOB_STAYS, text))
        return is_native

    def _choose_ports(self, targets: set[int], *, is_on_host: bool) -> _Ports | None:
        taken = declared_ports(self._pod) | targets
        asked = self._annotations.get(names.PORT)
        if asked is not None:
            try:
                return _asked_ports(asked, taken)
            except TargetError as error:
                # Only the node's owner knows which of its ports are free.
                instead = "" if is_on_host else "; the next free pair is used"
                text = f"annotation {names.PORT}: {error}{instead}"
                self._warnings.append(AdmissionWarning(WarningCode.BAD_PORT, text))
                if is_on_host:
                    return None
        port = DEFAULT_PORT
        while not taken.isdisjoint((port, port + 1)) and port < _LAST_DEFAULT_PORT:
            port += 2
        return _Ports(port, port + 1)

    def _bootstrap(self, *, only_labelled: bool) -> dict[str, str]:
        namespace = self._cluster.namespace(self._namespace)
        if namespace is None or (only_labelled and not namespace.is_labelled):
            return {}
        labels = select_labels(namespace.labels, self._platform.labels)
        if len(render_bootstrap(labels).encode()) > MAX_BOOTSTRAP_BYTES:
            text = "the namespace's labels are too long for the pod; the policy stream sends them"
            self._warnings.append(AdmissionWarning(WarningCode.BOOTSTRAP_TOO_LARGE, text))
            return {}
        return labels

    def _free_volume_name(self) -> str:
        taken = get_names(self._spec, "volumes", "spec")
        name, number = names.TOKEN_VOLUME, 1
        while name in taken:
            number += 1
            name = f"{names.TOKEN_VOLUME}-{number}"
        return name


def _asked_ports(text: str, taken: set[int]) -> _Ports:
    port = parse_port(text)
    if not taken.isdisjoint((port, port + 1)) or port == 65535:
        raise TargetError(f"{port} and {port + 1} are not both free in this pod")
    return _Ports(port, port + 1)


def workload_name(pod: Object) -> str:
    """Return the name of a pod's workload: the owner of its ReplicaSet or Job, else its owner."""
    metadata = metadata_of(pod)
    for owner in get_list(metadata, "ownerReferences", "metadata"):
        if owner.get("controller") is not True:
            continue
        name, kind = str(owner.get("name", "")), owner.get("kind")
        template_hash_label = labels_of(pod).get("pod-template-hash")
        if kind == "ReplicaSet" and template_hash_label:
            return name.removesuffix(f"-{template_hash_label}")
        if kind == "Job":
            # A CronJob appends the scheduled minute to the names of its Jobs.
            return re.sub(r"-[0-9]{8,}\Z", "", name)
        return name
    return name_of(pod) or get_text(metadata, "generateName", "metadata").rstrip("-._")

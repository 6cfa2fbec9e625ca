"""Pods with proxies, and those that should have one: what is wrong, and what mends it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from webhook_certs.authority import load_certificate

from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.doctor.findings import (
    MAX_PODS,
    PULL_FAILURES,
    Finding,
    Installation,
    find_all,
)
from injector.kube.doctor.grants import read_platform
from injector.kube.doctor.installation import (
    SHORT_LIFE,
    divide_bundle,
    read_ca_bundle,
    read_trust,
)
from injector.model.admission.decide import decide, workload_name
from injector.model.admission.outcomes import Reason
from injector.model.admission.templates import template_hash
from injector.model.admission.troubles import find_proxy, is_drifted, mend_drift
from injector.model.cluster import names
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_list,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
)
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Mesh, Platform

_TRUST_GONE = "with trust in a CA that is gone only: a proxy that starts again there cannot connect"
_NAMED = 20
"""Drifted pods of a namespace that are named, each with its command."""


class Present(NamedTuple):
    """What an up-to-date proxy has."""

    platform: Platform
    template: str
    retiring: Sequence[str]
    """CAs that end soon, PEM."""
    newest: str
    trust: Sequence[str]
    """Every CA that the control service can be verified by, PEM."""
    can_pull: bool
    """Whether nodes can pull the proxy's image, as far as its pre-pulling pods show."""


def read_present(client: KubeClient, installation: Installation, *, can_pull: bool) -> Present:
    """Gather what proxies are measured by.

    Raises:
        KubeError: the API server does not say.
        CertificateError: the CA cannot be read.
        SettingsError: the platform's settings cannot be read.
    """
    settings = read_platform(client, installation)
    ca_bundle = read_ca_bundle(client, installation)
    soon = datetime.now(UTC) + SHORT_LIFE
    retiring = [pem for pem in ca_bundle[:-1] if load_certificate(pem).not_valid_after_utc < soon]
    newest = ca_bundle[-1] if ca_bundle else ""
    platform = settings or Platform(own_namespace=installation.namespace)
    # Without an injector nobody wrote settings down from which to tell what is outdated.
    template = template_hash(settings) if settings is not None else ""
    trust = read_trust(client, installation)
    return Present(platform, template, retiring, newest, trust, can_pull)


def look_at_pods(
    client: KubeClient, namespace: JsonObject, pods: Sequence[JsonObject], present: Present
) -> Iterator[Finding]:
    """The pods of one namespace."""
    name = name_of(namespace)
    cluster = ClusterState()
    cluster.put("Namespace", namespace)
    for limits in find_all(client, f"/api/v1/namespaces/{name}/limitranges", MAX_PODS):
        cluster.put("LimitRange", limits)
    injected = [pod for pod in pods if _is_injected(pod, present)]
    yield from _look_at_images(injected)
    have = "1 pod has" if len(injected) == 1 else f"{len(injected)} pods have"
    yield Finding(True, f"{name}: {have} a proxy")
    # Nothing that is made anew starts while the image cannot be pulled.
    may_restart = present.can_pull and not any(
        waiting_for_image(pod, names.PROXY_CONTAINER) for pod in pods
    )
    yield from _look_at_drift(name, pods, present.platform.mesh)
    yield from _look_at_fakes(name, pods, present)

    def is_missing(pod: JsonObject) -> bool:
        return decide(pod, name, cluster, present.platform).reason is Reason.INJECTED

    def is_outdated(pod: JsonObject) -> bool:
        status = annotations_of(pod).get(names.STATUS, "")
        return bool(present.template) and f'"{present.template}"' not in status

    def is_cut_off(pod: JsonObject) -> bool:
        trusted = divide_bundle(_trusted(pod))
        return bool(trusted and present.trust) and not set(trusted) & set(present.trust)

    def trusts_only_the_old(pod: JsonObject) -> bool:
        trusted = _trusted(pod)
        return present.newest not in trusted and any(pem in trusted for pem in present.retiring)

    checks = (
        (is_missing, pods, "without a proxy"),
        (
            is_cut_off,
            injected,
            "with trust in a CA that is gone only: a proxy that starts again there cannot connect",
        ),
        (trusts_only_the_old, injected, "with trust in a CA that ends soon, and in no other"),
        (is_outdated, injected, "with a proxy of an earlier installation"),
    )
    told: set[str] = set()
    for is_meant, looked_at, sentence in checks:
        # One restart mends all that is wrong with a pod.
        left = [pod for pod in looked_at if name_of(pod) not in told]
        told.update(name_of(pod) for pod in left if is_meant(pod))
        yield from _count(name, left, is_meant, sentence, may_restart=may_restart)


def _is_injected(pod: JsonObject, present: Present) -> bool:
    proxy = find_proxy(pod)
    return proxy is not None and _is_ours(proxy, present)


def _is_ours(proxy: Object, present: Present) -> bool:
    """Tell whether a container is Livery's, by its image's name: a registry may be another now."""
    if not present.template:
        return True  # nobody wrote down what the image is
    mine, its = (
        image.rpartition("/")[2].partition("@")[0].partition(":")[0]
        for image in (present.platform.image, str(proxy.get("image", "")))
    )
    return mine == its


def _look_at_images(injected: Sequence[JsonObject]) -> Iterator[Finding]:
    for pod in injected:
        waiting = waiting_for_image(pod, names.PROXY_CONTAINER)
        if waiting:
            namespace = namespace_of(pod)
            sentence = f"{namespace}/{name_of(pod)} waits for the image: {waiting}"
            yield Finding(False, sentence, f"kubectl -n {namespace} describe pod {name_of(pod)}")


def _look_at_drift(namespace: str, pods: Sequence[JsonObject], mesh: Mesh) -> Iterator[Finding]:
    drifted = [pod for pod in pods if is_drifted(pod, mesh)]
    for pod in drifted[:_NAMED]:
        sentence = f"{namespace}/{name_of(pod)}: its annotations lead Prometheus past its proxy"
        yield Finding(False, sentence, f"{mend_drift(pod)}    # and in what applies it")
    if len(drifted) > _NAMED:
        yield Finding(False, f"{namespace}: so do those of {len(drifted) - _NAMED} pods more")


def _look_at_fakes(
    namespace: str, pods: Sequence[JsonObject], present: Present
) -> Iterator[Finding]:
    """Pods whose label, status or container says of a proxy what is not so."""
    label, kubectl = names.PROXY_LABEL, f"kubectl -n {namespace} label pod"
    for pod in pods:
        name, proxy = name_of(pod), find_proxy(pod)
        shows = labels_of(pod).get(label) == "pod"
        if proxy is None and shows:
            sentence = f"{namespace}/{name} has the label {label} and no proxy"
            yield Finding(False, sentence, f"{kubectl} {name} {label}-")
        elif proxy is not None and not _is_ours(proxy, present):
            sentence = (
                f"{namespace}/{name} has a container of its own named {names.PROXY_CONTAINER}, so "
                "it has no proxy of Livery's"
            )
            yield Finding(False, sentence, "give that container another name in what makes the pod")
        elif proxy is not None and not shows:
            sentence = f"{namespace}/{name} has a proxy and lost the label {label}"
            yield Finding(False, sentence, f"{kubectl} {name} {label}=pod")


def _count(
    name: str,
    pods: Sequence[JsonObject],
    is_meant: Callable[[JsonObject], bool],
    sentence: str,
    *,
    may_restart: bool,
) -> Iterator[Finding]:
    """Say how many pods of each owner are meant, with what makes them anew."""
    counts = Counter(owner_of(pod) for pod in pods if is_meant(pod))
    for owner, count in sorted(counts.items()):
        remedy = _restart(name, owner) if may_restart else "mend the image first; see above"
        of_pods = "1 pod" if count == 1 else f"{count} pods"
        yield Finding(False, f"{name}: {of_pods} of {owner} {sentence}", remedy)


def owner_of(pod: JsonObject) -> str:
    """Name what to restart, as kubectl does: `deployment/web`."""
    for owner in get_list(metadata_of(pod), "ownerReferences", "metadata"):
        if owner.get("controller") is not True:
            continue
        kind, name, workload = str(owner.get("kind")).lower(), owner.get("name"), workload_name(pod)
        has_parent = kind == "replicaset" and workload != name
        return f"deployment/{workload}" if has_parent else f"{kind}/{name}"
    return f"pod/{name_of(pod)}"


def _restart(namespace: str, owner: str) -> str:
    if owner.startswith(("deployment/", "statefulset/", "daemonset/")):
        return f"kubectl -n {namespace} rollout restart {owner}"
    if owner.startswith(("pod/", "job/")):
        return f"kubectl -n {namespace} delete {owner}    # and create it anew"
    return f"delete the pods of {owner}; it replaces them"


def _trusted(pod: JsonObject) -> str:
    for variable in get_list(find_proxy(pod) or {}, "env"):
        if variable.get("name") == "LIVERY_CONTROL_CA":
            return str(variable.get("value", ""))
    return ""


def waiting_for_image(pod: JsonObject, name: str) -> str:
    """Say why a pod's container waits for its image; empty where it does not."""
    status: dict[str, Any] = pod.get("status") or {}
    statuses = [
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ]
    for container in statuses:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if container.get("name") == name and waiting.get("reason") in PULL_FAILURES:
            return str(waiting["reason"])
    return ""

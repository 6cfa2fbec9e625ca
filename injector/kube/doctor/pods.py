"""Checks of pods that have a proxy or should have one."""

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
    injects,
    read_ca_bundle,
    read_trust,
)
from injector.model.admission.decide import decide, workload_name
from injector.model.admission.outcomes import Reason
from injector.model.admission.selection import is_enabled
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

_NAMED = 20
"""Drifted pods listed per namespace, each with its command."""


class Present(NamedTuple):
    """What an up-to-date proxy has, to compare pods with."""

    platform: Platform
    template: str
    retiring: Sequence[str]
    """CAs that expire soon, PEM."""
    newest: str
    trust: Sequence[str]
    """Every CA that the control service can be verified by, PEM."""
    can_pull: bool
    """Whether nodes can pull the proxy's image, as far as the pre-pull pods show."""
    injects: bool = True
    """Whether a webhook or a policy injects new pods."""


def read_present(client: KubeClient, installation: Installation, *, can_pull: bool) -> Present:
    """Read what pods are compared with.

    Raises:
        KubeError: a request failed.
        CertificateError: the CA cannot be read.
        SettingsError: the platform's settings cannot be read.
    """
    settings = read_platform(client, installation)
    ca_bundle = read_ca_bundle(client, installation)
    soon = datetime.now(UTC) + SHORT_LIFE
    retiring = [pem for pem in ca_bundle[:-1] if load_certificate(pem).not_valid_after_utc < soon]
    newest = ca_bundle[-1] if ca_bundle else ""
    platform = settings or Platform(own_namespace=installation.namespace)
    # Without an injector there are no settings to compare with, so nothing is outdated.
    template = template_hash(settings) if settings is not None else ""
    trust = read_trust(client, installation)
    is_injecting = injects(client, installation)
    return Present(platform, template, retiring, newest, trust, can_pull, is_injecting)


def look_at_pods(
    client: KubeClient, namespace: JsonObject, pods: Sequence[JsonObject], present: Present
) -> Iterator[Finding]:
    """Check the pods of one namespace."""
    name = name_of(namespace)
    cluster = ClusterState()
    cluster.put("Namespace", namespace)
    for limits in find_all(client, f"/api/v1/namespaces/{name}/limitranges", MAX_PODS):
        cluster.put("LimitRange", limits)
    injected = [pod for pod in pods if _is_injected(pod, present)]
    is_selected = is_enabled(cluster.namespace(name), present.platform)
    if not is_selected:
        yield Finding(True, f"{name}: webhook.namespaceSelector excludes it, so it gets no proxies")
    yield from _look_at_images(injected)
    have = "1 pod has" if len(injected) == 1 else f"{len(injected)} pods have"
    yield Finding(True, f"{name}: {have} a proxy")
    # A recreated pod does not start while the image cannot be pulled.
    may_restart = present.can_pull and not any(
        waiting_for_image(pod, names.PROXY_CONTAINER) for pod in pods
    )
    yield from _look_at_drift(name, pods, present.platform.mesh)
    yield from _look_at_fakes(name, pods, present)

    def is_missing(pod: JsonObject) -> bool:
        decision = decide(pod, name, cluster, present.platform)
        return is_selected and decision.reason is Reason.INJECTED

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
            "trusting only a CA that is gone, so that a restarted proxy cannot connect",
        ),
        (trusts_only_the_old, injected, "trusting only a CA that expires soon"),
        (is_outdated, injected, "with a proxy of an earlier version or configuration"),
    )
    told: set[str] = set()
    for is_meant, looked_at, sentence in checks:
        # One restart fixes every problem of a pod, so each pod is reported once.
        left = [pod for pod in looked_at if name_of(pod) not in told]
        told.update(name_of(pod) for pod in left if is_meant(pod))
        remedy = _restart if present.injects else _inject
        yield from _count(name, left, is_meant, sentence, recreate=remedy if may_restart else None)


def _is_injected(pod: JsonObject, present: Present) -> bool:
    proxy = find_proxy(pod)
    return proxy is not None and _is_ours(proxy, present)


def _is_ours(proxy: Object, present: Present) -> bool:
    """Tell whether a container is Livery's, by its image's name only: the registry may differ."""
    if not present.template:
        return True  # the image is not known
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
            sentence = f"{namespace}/{name_of(pod)} cannot pull the proxy's image: {waiting}"
            yield Finding(False, sentence, f"kubectl -n {namespace} describe pod {name_of(pod)}")


def _look_at_drift(namespace: str, pods: Sequence[JsonObject], mesh: Mesh) -> Iterator[Finding]:
    drifted = [pod for pod in pods if is_drifted(pod, mesh)]
    for pod in drifted[:_NAMED]:
        sentence = f"{namespace}/{name_of(pod)}: its annotations make Prometheus bypass its proxy"
        yield Finding(False, sentence, f"{mend_drift(pod)}    # and fix the source manifest")
    if len(drifted) > _NAMED:
        yield Finding(False, f"{namespace}: the same applies to {len(drifted) - _NAMED} more pods")


def _look_at_fakes(
    namespace: str, pods: Sequence[JsonObject], present: Present
) -> Iterator[Finding]:
    """Find pods whose label and containers disagree on whether they have a proxy."""
    label, kubectl = names.PROXY_LABEL, f"kubectl -n {namespace} label pod"
    for pod in pods:
        name, proxy = name_of(pod), find_proxy(pod)
        shows = labels_of(pod).get(label) == "pod"
        if proxy is None and shows:
            sentence = f"{namespace}/{name} has the label {label} but no proxy"
            yield Finding(False, sentence, f"{kubectl} {name} {label}-")
        elif proxy is not None and not _is_ours(proxy, present):
            sentence = (
                f"{namespace}/{name} has its own container named {names.PROXY_CONTAINER}, so it "
                "has no Livery proxy"
            )
            yield Finding(False, sentence, "rename that container in the pod's manifest")
        elif proxy is not None and not shows:
            sentence = f"{namespace}/{name} has a proxy but lacks the label {label}"
            yield Finding(False, sentence, f"{kubectl} {name} {label}=pod")


def _count(
    name: str,
    pods: Sequence[JsonObject],
    is_meant: Callable[[JsonObject], bool],
    sentence: str,
    *,
    recreate: Callable[[str, str, Sequence[str]], str] | None,
) -> Iterator[Finding]:
    """Report how many pods of each owner are affected, with the command that recreates them.

    Args:
        name: the namespace.
        pods: its pods.
        is_meant: whether a pod is affected.
        sentence: what is wrong.
        recreate: returns the command for a namespace, an owner and its pods; None while nothing
            can start.
    """
    affected: dict[str, list[str]] = {}
    for pod in filter(is_meant, pods):
        affected.setdefault(owner_of(pod), []).append(name_of(pod))
    for owner, named in sorted(affected.items()):
        remedy = recreate(name, owner, named) if recreate else "fix the image first; see above"
        of_pods = "1 pod" if len(named) == 1 else f"{len(named)} pods"
        yield Finding(False, f"{name}: {of_pods} of {owner} {sentence}", remedy)


def owner_of(pod: JsonObject) -> str:
    """Return what to restart, as kubectl names it, such as `deployment/web`."""
    for owner in get_list(metadata_of(pod), "ownerReferences", "metadata"):
        if owner.get("controller") is not True:
            continue
        kind, name, workload = str(owner.get("kind")).lower(), owner.get("name"), workload_name(pod)
        has_parent = kind == "replicaset" and workload != name
        return f"deployment/{workload}" if has_parent else f"{kind}/{name}"
    return f"pod/{name_of(pod)}"


def _restart(namespace: str, owner: str, pods: Sequence[str]) -> str:
    if owner.startswith(("deployment/", "statefulset/", "daemonset/")):
        return f"kubectl -n {namespace} rollout restart {owner}"
    if owner.startswith(("pod/", "job/")):
        return f"kubectl -n {namespace} delete {owner}    # and create it again"
    shown = " ".join(pods[:_NAMED])
    return f"kubectl -n {namespace} delete pod {shown}    # {owner} replaces them"


def _inject(namespace: str, owner: str, pods: Sequence[str]) -> str:
    return (
        f"livery inject --from-cluster -n {namespace} -f MANIFEST-OF-{owner.replace('/', '-')}.yaml"
        " | kubectl apply -f -    # injection.mode is none"
    )


def _trusted(pod: JsonObject) -> str:
    for variable in get_list(find_proxy(pod) or {}, "env"):
        if variable.get("name") == "LIVERY_CONTROL_CA":
            return str(variable.get("value", ""))
    return ""


def waiting_for_image(pod: JsonObject, name: str) -> str:
    """Return why a pod's container cannot pull its image; empty if it is not waiting for it."""
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

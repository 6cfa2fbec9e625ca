"""The pods of every namespace that asks for proxies, and what is in the proxies' way."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from webhook_certs.authority import load_certificate

from injector.errors import KubeError, ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.doctor.findings import Finding, Installation, find_all
from injector.kube.doctor.grants import read_platform
from injector.kube.doctor.installation import (
    SHORT_LIFE,
    divide_bundle,
    injects,
    read_ca_bundle,
    read_trust,
)
from injector.kube.doctor.surroundings import look_at_network, look_at_quotas, try_a_pod
from injector.model.admission.decide import decide, workload_name
from injector.model.admission.outcomes import Reason
from injector.model.admission.templates import template_hash
from injector.model.cluster import names
from injector.model.cluster.objects import (
    annotations_of,
    get_list,
    get_mapping,
    metadata_of,
    name_of,
)
from injector.model.cluster.state import ClusterState
from injector.platform import Platform

MAX_PODS = 20_000
"""Of one namespace; more are not looked at, and said to be."""
_PULL_FAILURES = frozenset(["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])


class _Present(NamedTuple):
    """What an up-to-date proxy has."""

    platform: Platform
    template: str
    retiring: Sequence[str]
    """CAs that end soon, PEM."""
    newest: str
    trust: Sequence[str]
    """Every CA that the control service can be verified by, PEM."""


def look_at_namespaces(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Every labelled namespace."""
    present = _present(client, installation, read_platform(client, installation))
    query = {"labelSelector": f"{names.INJECT}=enabled"}
    found = client.request("GET", "/api/v1/namespaces", query=query).get("items") or []
    if not found:
        remedy = f"kubectl label namespace NAME {names.INJECT}=enabled"
        yield Finding(True, "no namespace asks for proxies", remedy)
    for namespace in found:
        try:
            yield from _look_at(client, installation, namespace, present)
        except (KubeError, ObjectError) as error:
            if isinstance(error, KubeError) and error.status == 0:
                raise
            yield Finding(False, f"{name_of(namespace)}: cannot be looked at: {error}")


def _present(client: KubeClient, installation: Installation, settings: Platform | None) -> _Present:
    ca_bundle = read_ca_bundle(client, installation)
    soon = datetime.now(UTC) + SHORT_LIFE
    retiring = [pem for pem in ca_bundle[:-1] if load_certificate(pem).not_valid_after_utc < soon]
    newest = ca_bundle[-1] if ca_bundle else ""
    platform = settings or Platform(own_namespace=installation.namespace)
    # Without an injector nobody wrote settings down from which to tell what is outdated.
    template = template_hash(settings) if settings is not None else ""
    return _Present(platform, template, retiring, newest, read_trust(client, installation))


def _look_at(
    client: KubeClient, installation: Installation, namespace: JsonObject, present: _Present
) -> Iterator[Finding]:
    name = name_of(namespace)
    selector = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
    pods = find_all(client, f"/api/v1/namespaces/{name}/pods", MAX_PODS, **selector)
    yield from _look_at_pods(client, namespace, pods, present)
    if len(pods) >= MAX_PODS:
        yield Finding(True, f"{name}: only the first {len(pods)} pods were looked at")
    if injects(client, installation):
        yield from try_a_pod(client, installation, name)
    yield from look_at_quotas(client, name)
    injected = [pod for pod in pods if names.STATUS in annotations_of(pod)]
    yield from look_at_network(client, installation, name, injected)


def _look_at_pods(
    client: KubeClient, namespace: JsonObject, pods: Sequence[JsonObject], present: _Present
) -> Iterator[Finding]:
    name = name_of(namespace)
    cluster = ClusterState()
    cluster.put("Namespace", namespace)
    for limits in find_all(client, f"/api/v1/namespaces/{name}/limitranges", MAX_PODS):
        cluster.put("LimitRange", limits)
    injected = [pod for pod in pods if names.STATUS in annotations_of(pod)]
    for pod in injected:
        waiting = _waiting_for_image(pod)
        if waiting:
            remedy = f"kubectl -n {name} describe pod {name_of(pod)}"
            sentence = f"{name}/{name_of(pod)} waits for the image: {waiting}"
            yield Finding(False, sentence, remedy)
    have = "1 pod has" if len(injected) == 1 else f"{len(injected)} pods have"
    yield Finding(True, f"{name}: {have} a proxy")
    # Nothing that is made anew starts while the image cannot be pulled.
    may_restart = not any(map(_waiting_for_image, pods))

    def is_missing(pod: JsonObject) -> bool:
        return decide(pod, name, cluster, present.platform).reason is Reason.INJECTED

    def is_outdated(pod: JsonObject) -> bool:
        status = annotations_of(pod)[names.STATUS]
        return bool(present.template) and f'"{present.template}"' not in status

    def is_cut_off(pod: JsonObject) -> bool:
        trusted = divide_bundle(_trusted(pod))
        return bool(trusted and present.trust) and not set(trusted) & set(present.trust)

    def trusts_only_the_old(pod: JsonObject) -> bool:
        trusted = _trusted(pod)
        return present.newest not in trusted and any(pem in trusted for pem in present.retiring)

    checks = (
        (is_missing, pods, "without a proxy"),
        (is_cut_off, injected, "with trust in a CA that is gone only: no proxy there can connect"),
        (trusts_only_the_old, injected, "with trust in a CA that ends soon, and in no other"),
        (is_outdated, injected, "with a proxy of an earlier installation"),
    )
    told: set[str] = set()
    for is_meant, looked_at, sentence in checks:
        # One restart mends all that is wrong with a pod.
        left = [pod for pod in looked_at if name_of(pod) not in told]
        told.update(name_of(pod) for pod in left if is_meant(pod))
        yield from _count(name, left, is_meant, sentence, may_restart=may_restart)


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
    spec = get_mapping(pod, "spec")
    for container in (*get_list(spec, "initContainers"), *get_list(spec, "containers")):
        if container.get("name") == names.PROXY_CONTAINER:
            for variable in get_list(container, "env"):
                if variable.get("name") == "LIVERY_CONTROL_CA":
                    return str(variable.get("value", ""))
    return ""


def _waiting_for_image(pod: JsonObject) -> str:
    status: dict[str, Any] = pod.get("status") or {}
    statuses = [
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ]
    for container in statuses:
        waiting = (container.get("state") or {}).get("waiting") or {}
        is_ours = container.get("name") == names.PROXY_CONTAINER
        if is_ours and waiting.get("reason") in _PULL_FAILURES:
            return str(waiting["reason"])
    return ""

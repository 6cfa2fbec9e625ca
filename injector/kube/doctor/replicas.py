"""The injector's pods: why one is not ready, and which proxies have no stream to them."""

import re
from contextlib import suppress
from typing import NamedTuple

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.doctor.findings import MAX_PODS, PULL_FAILURES, Installation, find_all
from injector.model.cluster.objects import name_of

_METRICS_PORT = 9090
_CUT_OFF = re.compile(r'^livery_pods_cut_off\{namespace="([^"]*)"\} (\S+)$', re.MULTILINE)


class Unready(NamedTuple):
    """Why an injector is not ready, as a clause, and what to check; empty if unknown."""

    reason: str = ""
    remedy: str = ""


def why_not_ready(client: KubeClient, installation: Installation) -> Unready:
    """Return why the injector's pods are not ready.

    Raises:
        KubeError: a request failed.
    """
    for pod in _pods(client, installation):
        reason = _waiting(pod)
        if any(failure in reason for failure in PULL_FAILURES):
            # A container that never ran has no log.
            describe = f"kubectl -n {installation.namespace} describe pod {name_of(pod)}"
            return Unready(reason, f"{describe}    # can nodes pull from image.registry?")
        reason = reason or _unready(client, installation, pod)
        if reason:
            return Unready(reason)
    return Unready()


def count_cut_off(client: KubeClient, installation: Installation) -> dict[str, int]:
    """Return how many proxies have no stream to any replica, by namespace.

    Reads the injector's metrics through the API server; empty if the caller is not allowed to, or
    if no replica answers.
    """
    found: dict[str, int] = {}
    with suppress(KubeError):
        for pod in _pods(client, installation):
            for name, count in _read_cut_off(client, installation, pod):
                found[name] = max(count, found.get(name, 0))
    return found


def _read_cut_off(
    client: KubeClient, installation: Installation, pod: JsonObject
) -> list[tuple[str, int]]:
    try:
        text = client.read_text(_through(installation, pod, "metrics"))
        return [(name, int(float(count))) for name, count in _CUT_OFF.findall(text)]
    except (KubeError, ValueError):
        return []  # it is starting or stopping; another replica answers


def _pods(client: KubeClient, installation: Installation) -> list[JsonObject]:
    labels = f"app.kubernetes.io/component=injector,app.kubernetes.io/instance={installation.name}"
    path = f"/api/v1/namespaces/{installation.namespace}/pods"
    return find_all(client, path, MAX_PODS, labelSelector=labels)


def _waiting(pod: JsonObject) -> str:
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message", ""))[:300]
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting:
            words = (str(waiting.get(field, "")) for field in ("reason", "message"))
            return ": ".join(filter(None, words))[:300]
    return ""


def _unready(client: KubeClient, installation: Installation, pod: JsonObject) -> str:
    try:
        client.read_text(_through(installation, pod, "readyz"))
    except KubeError as error:
        if error.status == 503:
            # The pod's own text follows the path.
            return error.reason.rpartition("readyz: ")[2]
    return ""


def _through(installation: Installation, pod: JsonObject, page: str) -> str:
    """Return the API server path of a page of a pod."""
    path = f"/api/v1/namespaces/{installation.namespace}/pods"
    return f"{path}/{name_of(pod)}:{_METRICS_PORT}/proxy/{page}"

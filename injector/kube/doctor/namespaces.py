"""Checks of every namespace that asks for proxies."""

from collections.abc import Generator, Iterator

from injector.errors import KubeError, ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.doctor.findings import MAX_PODS, Finding, Installation, find_all
from injector.kube.doctor.installation import injects
from injector.kube.doctor.meshes import look_at_meshes
from injector.kube.doctor.pods import Present, look_at_pods, read_present, waiting_for_image
from injector.kube.doctor.replicas import count_cut_off
from injector.kube.doctor.surroundings import look_at_network, look_at_quotas, try_a_pod
from injector.model.cluster import names
from injector.model.cluster.objects import annotations_of, name_of

_PRE_PULL = "app.kubernetes.io/component=pre-pull"


def look_at_namespaces(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check every labelled namespace."""
    can_pull = yield from look_at_image(client, installation)
    present = read_present(client, installation, can_pull=can_pull)
    cut_off = count_cut_off(client, installation)
    query = {"labelSelector": f"{names.INJECT}=enabled"}
    found = client.request("GET", "/api/v1/namespaces", query=query).get("items") or []
    if not found:
        remedy = f"kubectl label namespace NAME {names.INJECT}=enabled"
        yield Finding(True, "no namespace is labelled for injection", remedy)
    for namespace in found:
        try:
            yield from _look_at(client, installation, namespace, present)
            yield from _count(name_of(namespace), cut_off.get(name_of(namespace), 0))
        except (KubeError, ObjectError) as error:
            if isinstance(error, KubeError) and error.status == 0:
                raise
            yield Finding(False, f"{name_of(namespace)}: cannot be checked: {error}")


def _look_at(
    client: KubeClient, installation: Installation, namespace: JsonObject, present: Present
) -> Iterator[Finding]:
    name = name_of(namespace)
    selector = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
    pods = find_all(client, f"/api/v1/namespaces/{name}/pods", MAX_PODS, **selector)
    yield from look_at_pods(client, namespace, pods, present)
    if len(pods) >= MAX_PODS:
        yield Finding(True, f"{name}: only the first {len(pods)} pods were checked")
    if injects(client, installation):
        yield from try_a_pod(client, installation, name)
    yield from look_at_quotas(client, name, present.platform.sidecar.resources)
    injected = [pod for pod in pods if names.STATUS in annotations_of(pod)]
    yield from look_at_network(client, installation, name, injected)
    mesh = present.platform.mesh
    yield from look_at_meshes(client, installation, namespace, injected, mesh=mesh)


def _count(namespace: str, cut_off: int) -> Iterator[Finding]:
    if cut_off:
        proxies = "1 proxy has" if cut_off == 1 else f"{cut_off} proxies have"
        sentence = f"{namespace}: {proxies} no stream to the control service"
        remedy = f"kubectl -n {namespace} get events --field-selector reason=ProxyCutOff"
        yield Finding(False, sentence, remedy)


def look_at_image(client: KubeClient, installation: Installation) -> Generator[Finding, None, bool]:
    """Check whether nodes can pull the proxy's image; returns that, too."""
    own = f"app.kubernetes.io/instance={installation.name}"
    path = f"/api/v1/namespaces/{installation.namespace}/pods"
    waiting = [
        (name_of(pod), reason)
        for pod in find_all(client, path, MAX_PODS, labelSelector=f"{own},{_PRE_PULL}")
        for reason in [waiting_for_image(pod, "sleep")]
        if reason
    ]
    if waiting:
        pod, reason = waiting[0]
        nodes = "1 node" if len(waiting) == 1 else f"{len(waiting)} nodes"
        sentence = f"{nodes} cannot pull the proxy's image: {reason}"
        yield Finding(False, sentence, f"kubectl -n {installation.namespace} describe pod {pod}")
    return not waiting

"""Checks for service meshes that block Prometheus from a proxy."""

from collections.abc import Callable, Iterator, Sequence

from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.doctor.findings import Finding, Installation, find_all
from injector.model.admission.decide import DEFAULT_PORT, workload_name
from injector.model.admission.meshes import passes
from injector.model.admission.troubles import find_data_port
from injector.model.cluster.objects import annotations_of, name_of
from injector.model.cluster.strict_meshes import (
    ISTIO_ROOT,
    find_istio_demand,
    find_linkerd_demand,
)
from injector.platform.settings import Mesh

_MOST = 1_000
_ISTIO = ("/apis/security.istio.io/v1", "/apis/security.istio.io/v1beta1")
_LINKERD = ("/apis/policy.linkerd.io/v1beta3", "/apis/policy.linkerd.io/v1beta1")
_Demand = Callable[[JsonObject, int], str]


def look_at_meshes(
    client: KubeClient,
    installation: Installation,
    namespace: JsonObject,
    injected: Sequence[JsonObject],
    *,
    mesh: Mesh,
) -> Iterator[Finding]:
    """Find workloads of a namespace whose proxy a strict mesh blocks from Prometheus.

    Args:
        client: the cluster.
        installation: the installation.
        namespace: the namespace.
        injected: its pods that have a proxy.
        mesh: the platform's `injection.mesh`.

    Raises:
        KubeError: a request failed.
        ObjectError: an object is malformed.
    """
    if not injected:
        return
    name = name_of(namespace)
    peers = [
        policy
        for place in dict.fromkeys((name, ISTIO_ROOT))
        for policy in _objects(client, _ISTIO, place, "peerauthentications")
    ]
    servers = _objects(client, _LINKERD, name, "servers")
    demands: dict[Mesh, _Demand] = {
        Mesh.ISTIO: lambda pod, port: find_istio_demand(peers, pod, port),
        Mesh.LINKERD: lambda pod, port: find_linkerd_demand(
            servers, pod, annotations_of(namespace), port
        ),
    }
    for strict, find_demand in demands.items():
        shut: dict[str, str] = {}
        for pod in injected:
            port = find_data_port(pod) or DEFAULT_PORT
            demand = find_demand(pod, port)
            if demand and not passes(annotations_of(pod), strict, port):
                shut[workload_name(pod)] = demand
        for workload, demand in sorted(shut.items()):
            sentence = (
                f"{name}: {demand} requires mutual TLS ({strict}), so Prometheus cannot reach the "
                f"proxy of {workload}"
            )
            yield Finding(False, sentence, _remedy(installation, strict, mesh))


def _remedy(installation: Installation, strict: Mesh, mesh: Mesh) -> str:
    if mesh is strict:
        return "restart the workload: it was created before injection.mesh was set"
    return f"{installation.reapply(f'injection.mesh={strict}')}; then restart the workload"


def _objects(
    client: KubeClient, groups: Sequence[str], namespace: str, plural: str
) -> list[JsonObject]:
    """Return the objects of a kind, from the first API version that has any."""
    for group in groups:
        found = find_all(client, f"{group}/namespaces/{namespace}/{plural}", _MOST)
        if found:
            return found
    return []

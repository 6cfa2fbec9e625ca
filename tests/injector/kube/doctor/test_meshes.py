"""Checks of meshes in front of proxies, with the kinds of Istio and Linkerd; no mesh runs here."""

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding
from injector.kube.doctor.meshes import look_at_meshes
from injector.platform.settings import Mesh
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, listed

SHOP: Json = {"metadata": {"name": "shop"}}
STRICT: Json = {
    "metadata": {"name": "default", "namespace": "istio-system"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
SERVER: Json = {"metadata": {"name": "all", "namespace": "shop"}, "spec": {"port": "livery"}}
ISTIO = "/apis/security.istio.io/{}/namespaces/istio-system/peerauthentications"
LINKERD = "/apis/policy.linkerd.io/{}/namespaces/shop/servers"


def _pod(mesh: str, **annotations: str) -> Json:
    ports = [{"name": "livery", "containerPort": 16090}]
    containers = [{"name": mesh}, {"name": "livery-proxy", "ports": ports}]
    metadata = {"name": "web-0", "namespace": "shop", "annotations": annotations}
    return {"metadata": metadata, "spec": {"initContainers": containers}}


def _look(client: KubeClient, pod: Json, mesh: Mesh) -> list[Finding]:
    return [*look_at_meshes(client, INSTALLATION, SHOP, [pod], mesh=mesh)]


@pytest.mark.parametrize(
    ("objects", "container", "mesh"),
    [
        ({ISTIO.format("v1"): listed([STRICT])}, "istio-proxy", Mesh.ISTIO),
        ({ISTIO.format("v1beta1"): listed([STRICT])}, "istio-proxy", Mesh.ISTIO),
        ({LINKERD.format("v1beta3"): listed([SERVER])}, "linkerd-proxy", Mesh.LINKERD),
        ({LINKERD.format("v1beta1"): listed([SERVER])}, "linkerd-proxy", Mesh.LINKERD),
    ],
)
def test_a_strict_mesh_is_named_with_the_setting_that_lets_prometheus_past(
    holding: Holding, objects: dict[str, Json], container: str, mesh: Mesh
) -> None:
    with holding(objects) as client:
        (before,) = _look(client, _pod(container), Mesh.NONE)
        (after,) = _look(client, _pod(container), mesh)

    assert before.sentence.endswith(
        f" requires mutual TLS ({mesh}), so Prometheus cannot reach the proxy of web-0"
    )
    assert f"--set injection.mesh={mesh}" in before.remedy
    assert before.remedy.endswith("then restart the workload")
    assert after.remedy.startswith("restart the workload")


def test_a_proxy_whose_ports_go_past_the_mesh_is_well(holding: Holding) -> None:
    exempt = {"traffic.sidecar.istio.io/excludeInboundPorts": "16090,16091"}
    with holding({ISTIO.format("v1"): listed([STRICT])}) as client:
        assert _look(client, _pod("istio-proxy", **exempt), Mesh.ISTIO) == []


def test_without_a_mesh_there_is_nothing_to_say(holding: Holding) -> None:
    with holding({}) as client:
        assert _look(client, _pod("x"), Mesh.NONE) == []

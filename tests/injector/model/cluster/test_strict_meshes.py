"""Whether a mesh requires its certificates (mTLS) on a port."""

from typing import Any

import pytest

from injector.model.cluster.strict_meshes import find_istio_demand, find_linkerd_demand

Json = dict[str, Any]
PORT = 16090
INBOUND = "config.linkerd.io/default-inbound-policy"


def _pod(mesh: str, **annotations: str) -> Json:
    metadata = {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}
    spec = {"containers": [{"name": "web"}], "initContainers": [{"name": mesh}]}
    return {"metadata": {**metadata, "annotations": annotations}, "spec": spec}


def _peer(namespace: str, name: str, mode: str, **spec: object) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"mtls": {"mode": mode}, **spec}}


WEB = {"matchLabels": {"app": "web"}}
ROOT = _peer("istio-system", "default", "STRICT")
OPEN = {"16090": {"mode": "PERMISSIVE"}}


@pytest.mark.parametrize(
    ("policies", "demand"),
    [
        ([], ""),
        ([ROOT], "PeerAuthentication istio-system/default"),
        ([ROOT, _peer("shop", "own", "PERMISSIVE")], ""),
        ([ROOT, _peer("shop", "own", "UNSET")], "PeerAuthentication istio-system/default"),
        ([ROOT, _peer("shop", "own", "")], "PeerAuthentication istio-system/default"),
        ([ROOT, _peer("bank", "own", "PERMISSIVE")], "PeerAuthentication istio-system/default"),
        ([_peer("shop", "own", "STRICT")], "PeerAuthentication shop/own"),
        ([_peer("shop", "own", "STRICT", selector=WEB)], "PeerAuthentication shop/own"),
        ([_peer("shop", "own", "STRICT", selector={"matchLabels": {"app": "db"}})], ""),
        ([_peer("shop", "own", "STRICT", selector=WEB, portLevelMtls=OPEN)], ""),
        ([_peer("shop", "own", "DISABLE", selector=WEB), ROOT], ""),
        ([_peer("istio-system", "x", "STRICT", selector=WEB)], ""),
    ],
)
def test_the_nearest_of_istios_policies_counts(policies: list[Json], demand: str) -> None:
    assert find_istio_demand(policies, _pod("istio-proxy"), PORT) == demand


def test_who_is_in_no_mesh_meets_no_demand() -> None:
    assert find_istio_demand([ROOT], _pod("other"), PORT) == ""
    annotations = {INBOUND: "deny"}
    assert find_linkerd_demand([], _pod("other", **annotations), annotations, PORT) == ""


def _server(port: object, labels: dict[str, str], **spec: object) -> Json:
    selector = {"matchLabels": labels}
    metadata = {"name": "metrics", "namespace": "shop"}
    return {"metadata": metadata, "spec": {"port": port, "podSelector": selector, **spec}}


@pytest.mark.parametrize(
    ("servers", "of_pod", "of_namespace", "demand"),
    [
        ([], "", "", ""),
        ([], "all-unauthenticated", "deny", ""),
        (
            [],
            "",
            "all-authenticated",
            f"{INBOUND}: all-authenticated",
        ),
        ([], "deny", "", f"{INBOUND}: deny"),
        ([_server(PORT, {"app": "web"})], "", "", "Server metrics"),
        ([_server("livery", {})], "", "", "Server metrics"),
        ([_server("livery", {}, accessPolicy="all-unauthenticated")], "", "", ""),
        ([_server(80, {})], "", "", ""),
        ([_server(PORT, {"app": "db"})], "", "", ""),
    ],
)
def test_linkerd_demands_an_identity_by_a_server_or_by_default(
    servers: list[Json], of_pod: str, of_namespace: str, demand: str
) -> None:
    pod = _pod("linkerd-proxy", **({INBOUND: of_pod} if of_pod else {}))
    namespace = {INBOUND: of_namespace} if of_namespace else {}

    assert find_linkerd_demand(servers, pod, namespace, PORT) == demand

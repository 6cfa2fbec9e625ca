from typing import Any

import pytest

from injector.errors import ObjectError
from injector.model.cluster.nodes import keep_node, kubelet_url
from injector.model.cluster.state import NO_NAMESPACE, ClusterState


def node(name: str, *addresses: tuple[str, str], port: object = None) -> dict[str, Any]:
    status: dict[str, Any] = {
        "addresses": [{"type": kind, "address": address} for kind, address in addresses],
        "images": [{"names": ["x" * 1000]}],
    }
    if port is not None:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": port}}
    return {"metadata": {"name": name, "labels": {"a": "b"}}, "status": status}


@pytest.mark.parametrize(
    ("addresses", "port", "url"),
    [
        ([("Hostname", "w"), ("InternalIP", "10.0.0.7")], 10250, "https://10.0.0.7:10250"),
        ([("InternalIP", "10.0.0.7"), ("InternalIP", "fd00::7")], None, "https://10.0.0.7:10250"),
        ([("InternalIP", "fd00::7")], 10255, "https://[fd00::7]:10255"),
        ([("ExternalIP", "1.2.3.4"), ("Hostname", "w")], 0, "https://w:10250"),
        ([("ExternalIP", "1.2.3.4")], "x", "https://1.2.3.4:10250"),
        ([], 10250, ""),
    ],
)
def test_a_kubelet_is_where_its_node_says(
    addresses: list[tuple[str, str]], port: object, url: str
) -> None:
    obj = node("w", *addresses, port=port)

    assert kubelet_url(obj) == kubelet_url(keep_node(obj)) == url
    assert "images" not in keep_node(obj)["status"]


def test_a_malformed_node_is_refused() -> None:
    with pytest.raises(ObjectError, match=r"status\.addresses"):
        ClusterState().put("Node", {"metadata": {"name": "w"}, "status": {"addresses": {}}})


def test_a_node_is_in_no_namespace_and_its_change_is_announced() -> None:
    cluster = ClusterState()
    announced: list[str] = []
    cluster.listeners.append(announced.append)

    cluster.put("Node", node("w", ("InternalIP", "10.0.0.7")))
    cluster.put("Node", node("new"))

    assert announced == [NO_NAMESPACE, NO_NAMESPACE]
    assert cluster.nodes() == {"w": "https://10.0.0.7:10250"}

"""The addresses of nodes' kubelets."""

from typing import Any

from injector.model.cluster.objects import Object, get_list, get_mapping, get_text
from sidecar.model.hosts import bracket

KUBELET_PORT = 10250
_PREFERRED = ("InternalIP", "Hostname", "ExternalIP")


def kubelet_url(node: Object) -> str:
    """Return the URL of a node's kubelet; empty if the node has no address yet.

    Raises:
        ObjectError: the node is malformed.
    """
    status = get_mapping(node, "status")
    found = {
        get_text(item, "type", "status.addresses"): get_text(item, "address", "status.addresses")
        for item in reversed(get_list(status, "addresses", "status"))
    }
    address = next((found[kind] for kind in _PREFERRED if found.get(kind)), "")
    if not address:
        return ""
    endpoints = get_mapping(status, "daemonEndpoints", "status")
    port = get_mapping(endpoints, "kubeletEndpoint", "status.daemonEndpoints").get("Port")
    return (
        f"https://{bracket(address)}:{port if isinstance(port, int) and port > 0 else KUBELET_PORT}"
    )


def keep_node(node: dict[str, Any]) -> dict[str, Any]:
    """Keep only the kubelet's address: a node's image list alone takes kilobytes."""
    status = node.get("status") or {}
    kept = {key: status[key] for key in ("addresses", "daemonEndpoints") if key in status}
    return {"metadata": {"name": node.get("metadata", {}).get("name")}, "status": kept}

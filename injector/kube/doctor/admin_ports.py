"""Proxies' admin ports, queried through the API server."""

from injector.kube.api.client import JsonObject
from injector.model.cluster.names import PROXY_CONTAINER
from injector.model.cluster.objects import get_list, get_mapping

ADMIN_PORT = "livery-admin"


def find_admin_port(pod: JsonObject) -> int | None:
    """Return the admin port of a pod's proxy; None if it has none.

    Raises:
        ObjectError: the pod is malformed.
    """
    for container in get_list(get_mapping(pod, "spec"), "containers", "spec"):
        if container.get("name") == PROXY_CONTAINER:
            for port in get_list(container, "ports"):
                if port.get("name") == ADMIN_PORT:
                    return int(port.get("containerPort") or 0)
    return None


def admin_path(namespace: str, pod: str, port: int, page: str) -> str:
    """Return the API server path of a page on a proxy's admin port."""
    return f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{page}"

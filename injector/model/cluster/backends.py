"""Discovers Prometheus servers for gateways from Services, Pods and EndpointSlices."""

import ipaddress
from collections.abc import Iterator

from injector.errors import ObjectError
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_list,
    get_mapping,
    get_text,
    metadata_of,
    name_of,
    namespace_of,
    running_containers,
)
from injector.platform.settings import BackendDiscovery, BackendKind
from sidecar.model.hosts import bracket

PORT_NAMES = ("web", "http-web", "prometheus", "http")
"""Names that operators and charts give to Prometheus's port, most likely first."""
PORT = 9090


def backend_urls(obj: Object, discovery: BackendDiscovery) -> list[str]:
    """Return the URLs of the Prometheus servers behind an object; empty if there are none.

    Raises:
        ObjectError: it is malformed.
    """
    annotations = annotations_of(obj)
    if any(annotations.get(key) != value for key, value in discovery.annotations.items()):
        return []
    found = [item for item in _FINDERS[discovery.kind](obj, discovery) if _may_be_asked(item[0])]
    return [f"{discovery.scheme}://{bracket(host)}:{port}{discovery.path}" for host, port in found]


def _may_be_asked(host: str) -> bool:
    """Return whether a host may be queried: not the gateway itself or node-local services."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True  # a Service's name
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


def _of_service(service: Object, discovery: BackendDiscovery) -> Iterator[tuple[str, int]]:
    ports = get_list(get_mapping(service, "spec"), "ports", "spec")
    port = _choose(ports, "port", discovery.port)
    if port:
        yield f"{name_of(service)}.{namespace_of(service)}.svc", port


def _of_pod(pod: Object, discovery: BackendDiscovery) -> Iterator[tuple[str, int]]:
    status = get_mapping(pod, "status")
    address = get_text(status, "podIP", "status")
    conditions = get_list(status, "conditions", "status")
    is_ready = any(
        item.get("type") == "Ready" and item.get("status") == "True" for item in conditions
    )
    if not address or not is_ready or metadata_of(pod).get("deletionTimestamp"):
        return
    ports = [port for container in running_containers(pod) for port in get_list(container, "ports")]
    port = _choose(ports, "containerPort", discovery.port)
    if port:
        yield address, port


def _of_endpoint_slice(part: Object, discovery: BackendDiscovery) -> Iterator[tuple[str, int]]:
    port = _choose(get_list(part, "ports"), "port", discovery.port)
    if not port or part.get("addressType") not in ("IPv4", "IPv6"):
        return
    for endpoint in get_list(part, "endpoints"):
        addresses = endpoint.get("addresses")
        if get_mapping(endpoint, "conditions", "endpoints").get("ready") is False:
            continue
        if not isinstance(addresses, list) or not all(isinstance(one, str) for one in addresses):
            raise ObjectError("endpoints.addresses", "a list of strings is needed")
        if addresses:
            yield addresses[0], port


def _choose(ports: list[Object], number_field: str, wanted: str) -> int:
    """Return the number of the wanted port; 0 if there is none."""
    if wanted.isascii() and wanted.isdigit():
        return int(wanted)
    numbers: dict[str, int] = {
        get_text(port, "name"): port[number_field]
        for port in ports
        if isinstance(port.get(number_field), int)
    }
    if wanted:
        return numbers.get(wanted, 0)
    named = [numbers[name] for name in PORT_NAMES if name in numbers]
    usual = [PORT] if PORT in numbers.values() else []
    only = list(numbers.values()) if len(numbers) == 1 else []
    return next(iter([*named, *usual, *only]), 0)


_FINDERS = {
    BackendKind.SERVICE: _of_service,
    BackendKind.POD: _of_pod,
    BackendKind.ENDPOINT_SLICE: _of_endpoint_slice,
}

"""What a scraper needs to know about a pod, read from the Kubernetes object.

The injector sends trimmed pod objects, an API server complete ones. Both are read here.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sidecar.errors import PodsError
from sidecar.model.fields import Fields, read_string_map
from sidecar.model.hosts import bracket
from sidecar.model.pods.names import (
    FALLBACK_PROTOCOL,
    INJECT,
    PROXY_CONTAINER,
    PROXY_PORT,
    TARGETS,
)
from sidecar.model.pods.pod_list import Port
from sidecar.model.pods.scrape_annotations import (
    SCRAPE_SLOW_SPELLING,
    SCRAPE_SPELLING,
    read_scrape_annotations,
)
from sidecar.model.pods.scrape_targets import DeclaredPorts, FoundTargets, find_targets
from sidecar.model.targets import Target

MAX_ANNOTATION_CHARACTERS = 4096
"""Per annotation that is sent; longer ones are dropped."""
MAX_CONTAINERS = 100
MAX_PORTS = 200
"""Per container."""
_ENDED = frozenset(["Succeeded", "Failed"])


class ScrapedPod(NamedTuple):
    """What a scraper knows about a pod."""

    namespace: str
    name: str
    uid: str
    created: str
    """Creation time, as Kubernetes writes it; such texts sort by time."""
    phase: str
    is_terminating: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    addresses: tuple[str, ...]
    """IP addresses; the first is the one that Prometheus would use."""
    containers: tuple[DeclaredPorts, ...]
    """Containers that run as long as the pod."""

    @property
    def is_running(self) -> bool:
        """Whether it is running, has an address, and is not terminating."""
        return self.phase == "Running" and not self.is_terminating and bool(self.addresses)

    @property
    def asks(self) -> bool:
        """Whether its annotations request scraping."""
        scrape = read_scrape_annotations(self.annotations)
        return scrape.asks or self.annotations.get(INJECT) == "true"

    @property
    def has_proxy(self) -> bool:
        """Whether a Livery proxy is beside its workload."""
        return any(container.name == PROXY_CONTAINER for container in self.containers)


class PodTargets(NamedTuple):
    """A pod's targets, and warnings about the pod, which may exist even if there are targets."""

    targets: tuple[Target, ...]
    warnings: tuple[str, ...]


def find_pod_targets(pod: ScrapedPod) -> PodTargets:
    """Return a pod's targets, by the rules of injection, at its first address.

    If the pod has a Livery proxy, the proxy is scraped instead of the other containers.
    """
    scrape = read_scrape_annotations(pod.annotations)
    ports = [
        port.number
        for container in pod.containers
        if container.name == PROXY_CONTAINER
        for port in container.ports
        if port.name == PROXY_PORT
    ]
    if ports:
        found = FoundTargets((Target("", "http", "", ports[0], "/metrics"),), ())
    else:
        found = find_targets(pod.containers, pod.annotations, scrape.values)
    host = bracket(pod.addresses[0]) if pod.addresses else ""
    return PodTargets(
        tuple(target._replace(host=host) for target in found.targets),
        tuple(item.text for item in (*scrape.warnings, *found.warnings)),
    )


def check_addresses(pod: ScrapedPod) -> None:
    """Refuse addresses that no pod can have: a forged pod status must not redirect the proxy.

    Raises:
        PodsError: one is, for example, a loopback address, which would be the proxy's own pod, or
            a link-local one, such as that of a cloud's metadata service.
    """
    for text in pod.addresses:
        address = ipaddress.ip_address(text)
        if any(map(_is_nobodys, [address, *_embedded(address)])):
            raise PodsError(f"{text} is not an address that a pod can have")


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_EMBEDDING = [ipaddress.ip_network(text) for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")]
"""Networks whose last 32 bits are an IPv4 address: IPv4-compatible addresses and NAT64."""
_METADATA = ipaddress.ip_address("fd00:ec2::254")


def _is_nobodys(address: _Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address.is_reserved)
        or address == _METADATA
    )


def _embedded(address: _Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address embeds."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDING) and int(address) > 1:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [item for item in found if item is not None]


def parse_scraped_pod(value: object, path: str) -> ScrapedPod:
    """Read a pod; `path` names it in errors.

    Raises:
        PodsError: a field has the wrong type, a name is not valid Unicode, or an address is not an
            IP address; names it.
    """
    item = Fields(value, path, _wrong)
    metadata, spec, status = item.at("metadata"), item.at("spec"), item.at("status")
    pod = ScrapedPod(
        namespace=metadata.text("namespace"),
        name=metadata.text("name"),
        uid=metadata.text("uid"),
        created=metadata.text("creationTimestamp"),
        phase=status.text("phase"),
        is_terminating=bool(metadata.value.get("deletionTimestamp")),
        labels=_texts(metadata, "labels"),
        annotations=_texts(metadata, "annotations"),
        addresses=_read_addresses(status),
        containers=tuple(_read_containers(spec))[:MAX_CONTAINERS],
    )
    try:
        "".join([pod.namespace, pod.name, *(one.name for one in pod.containers)]).encode()
    except UnicodeEncodeError as error:
        raise PodsError(f"{path or 'pod'}: a name is not valid Unicode") from error
    return pod


def trim_pod(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a raw pod, trimmed to what is read here; None if the pod has ended.

    Raises:
        PodsError: a field has the wrong type; names it.
    """
    item = Fields(pod, "", _wrong)
    metadata, spec, status = item.at("metadata"), item.at("spec"), item.at("status")
    if status.text("phase") in _ENDED:
        return None
    annotations = _texts(metadata, "annotations")
    kept = {key: text for key, text in annotations.items() if _is_read(key, text)}
    trimmed_metadata: dict[str, Any] = {
        "namespace": metadata.text("namespace"),
        "name": metadata.text("name"),
        "uid": metadata.text("uid"),
        "creationTimestamp": metadata.text("creationTimestamp"),
        "labels": _texts(metadata, "labels"),
        "annotations": kept,
    }
    if metadata.value.get("deletionTimestamp"):
        trimmed_metadata["deletionTimestamp"] = metadata.text("deletionTimestamp")
    ips = [{"ip": address} for address in _addresses(status)]
    return {
        "metadata": trimmed_metadata,
        "spec": {"containers": [_trim(one) for one in _running(spec)][:MAX_CONTAINERS]},
        "status": {"phase": status.text("phase"), "podIPs": ips},
    }


def _is_read(key: str, text: str) -> bool:
    if len(text) > MAX_ANNOTATION_CHARACTERS:
        return False
    if key in (TARGETS, INJECT, FALLBACK_PROTOCOL):
        return True
    return bool(SCRAPE_SPELLING.fullmatch(key) or SCRAPE_SLOW_SPELLING.fullmatch(key))


def _trim(container: Fields) -> dict[str, Any]:
    ports = [
        {key: port.value[key] for key in ("name", "containerPort", "protocol") if key in port.value}
        for port in container.each("ports")[:MAX_PORTS]
    ]
    return {"name": container.text("name"), "ports": ports}


def _wrong(path: str, reason: str) -> PodsError:
    return PodsError(f"{path}: {reason}")


def _texts(fields: Fields, key: str) -> dict[str, str]:
    path = fields.name(key)
    return read_string_map(fields.value.get(key), path, _wrong, null_is_empty=True)


def _running(spec: Fields) -> Iterator[Fields]:
    """Yield the containers that run as long as the pod: ordinary ones, then native sidecars."""
    yield from spec.each("containers")
    for container in spec.each("initContainers"):
        if container.value.get("restartPolicy") == "Always":
            yield container


def _read_containers(spec: Fields) -> Iterator[DeclaredPorts]:
    for container in _running(spec):
        ports = [
            Port(port.text("name"), _number(port), port.text("protocol"))
            for port in container.each("ports")[:MAX_PORTS]
        ]
        yield DeclaredPorts(container.text("name"), tuple(ports))


def _number(port: Fields) -> int:
    value = port.value.get("containerPort")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _addresses(status: Fields) -> list[str]:
    found = [status.text("podIP"), *(item.text("ip") for item in status.each("podIPs")[:8])]
    return list(dict.fromkeys(address for address in found if address))


def _read_addresses(status: Fields) -> tuple[str, ...]:
    found = _addresses(status)
    for text in found:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise _wrong(status.name("podIPs"), f"{text[:60]!r} is not an IP address") from None
    return tuple(found)

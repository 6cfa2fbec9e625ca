"""Which annotation lets Prometheus past a service mesh to a proxy's ports.

A mesh that demands mutual TLS refuses whoever has no certificate of its own, as Prometheus outside
of the mesh. Sources: https://istio.io/latest/docs/reference/config/annotations/ and
https://linkerd.io/2/reference/proxy-configuration/
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from injector.platform.settings import Mesh

EXEMPTING = {
    Mesh.ISTIO: "traffic.sidecar.istio.io/excludeInboundPorts",
    Mesh.LINKERD: "config.linkerd.io/skip-inbound-ports",
}
"""The annotation that lists ports which go past a mesh."""
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class Exemption(NamedTuple):
    """An annotation as it is to be."""

    key: str
    value: str


def exempt_ports(
    mesh: Mesh, annotations: Mapping[str, str], ports: Sequence[int]
) -> Exemption | None:
    """Return the annotation that lets ports past a mesh; what it lists already stays.

    Args:
        mesh: the platform's.
        annotations: the pod's.
        ports: the proxy's.
    """
    key = EXEMPTING.get(mesh)
    if key is None:
        return None
    said = annotations.get(key, "").strip()
    listed = {part.strip() for part in said.split(",")}
    added = [str(port) for port in ports if str(port) not in listed]
    return Exemption(key, ",".join([*([said] if said else []), *added]))


def passes(annotations: Mapping[str, str], mesh: Mesh, port: int) -> bool:
    """Tell whether a pod's annotation lets a port past a mesh; ranges `a-b` are Linkerd's."""
    for part in annotations.get(EXEMPTING[mesh], "").split(","):
        ports = _PORTS.fullmatch(part.strip())
        if ports is not None and int(ports[1]) <= port <= int(ports[2] or ports[1]):
            return True
    return False

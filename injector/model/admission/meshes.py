"""Annotations that let Prometheus bypass a service mesh to reach a proxy's ports.

A mesh that requires mutual TLS refuses clients without a certificate of the mesh, for example a
Prometheus outside it. Sources: https://istio.io/latest/docs/reference/config/annotations/ and
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
"""The annotation that lists the ports that bypass a mesh."""
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class Exemption(NamedTuple):
    """An annotation to set."""

    key: str
    value: str


def exempt_ports(
    mesh: Mesh, annotations: Mapping[str, str], ports: Sequence[int]
) -> Exemption | None:
    """Return the annotation that makes ports bypass a mesh; ports it already lists stay.

    Args:
        mesh: the platform's mesh.
        annotations: the pod's annotations.
        ports: the proxy's ports.
    """
    key = EXEMPTING.get(mesh)
    if key is None:
        return None
    said = annotations.get(key, "").strip()
    listed = {part.strip() for part in said.split(",")}
    added = [str(port) for port in ports if str(port) not in listed]
    return Exemption(key, ",".join([*([said] if said else []), *added]))


def passes(annotations: Mapping[str, str], mesh: Mesh, port: int) -> bool:
    """Return whether a pod's annotation makes a port bypass a mesh; Linkerd has ranges `a-b`."""
    for part in annotations.get(EXEMPTING[mesh], "").split(","):
        ports = _PORTS.fullmatch(part.strip())
        if ports is not None and int(ports[1]) <= port <= int(ports[2] or ports[1]):
            return True
    return False

"""The ports that a raw pod declares, and its targets with warnings for its owner."""

from collections.abc import Mapping
from typing import NamedTuple

from injector.model.admission.outcomes import AdmissionWarning
from injector.model.cluster.objects import (
    Object,
    get_list,
    get_mapping,
    get_text,
    running_containers,
)
from sidecar.model.pods import scrape_targets
from sidecar.model.pods.pod_list import Port
from sidecar.model.pods.scrape_targets import DeclaredPorts
from sidecar.model.targets import Target


class FoundTargets(NamedTuple):
    """The targets that can be scraped, and what is wrong with the others."""

    targets: tuple[Target, ...]
    warnings: tuple[AdmissionWarning, ...]


def find_targets(
    pod: Object, annotations: Mapping[str, str], scrape: Mapping[str, str]
) -> FoundTargets:
    """Return a pod's targets.

    Args:
        pod: the raw pod.
        annotations: its annotations.
        scrape: what its `prometheus.io/…` annotations say.

    Raises:
        ObjectError: a container or port is malformed.
    """
    containers = [_declared(container) for container in running_containers(pod)]
    found = scrape_targets.find_targets(containers, annotations, scrape)
    return FoundTargets(found.targets, tuple(map(AdmissionWarning.of, found.warnings)))


def declared_ports(pod: Object) -> set[int]:
    """Return every port number that the pod's containers declare."""
    spec = get_mapping(pod, "spec")
    containers = get_list(spec, "containers", "spec") + get_list(spec, "initContainers", "spec")
    return {
        port["containerPort"]
        for container in containers
        for port in get_list(container, "ports", "spec.containers[]")
        if isinstance(port.get("containerPort"), int)
    }


def _declared(container: Object) -> DeclaredPorts:
    path = "spec.containers[]"
    ports = [
        Port(
            get_text(port, "name", f"{path}.ports[]"),
            _number(port.get("containerPort")),
            get_text(port, "protocol", f"{path}.ports[]"),
        )
        for port in get_list(container, "ports", path)
    ]
    return DeclaredPorts(get_text(container, "name", path), tuple(ports))


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

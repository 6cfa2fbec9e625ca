"""Targets of a node's pods, with the labels of Alloy's `discovery.kubelet` and some more.

There is one target per declared container port, and one for a container without declared ports.
Sources: https://grafana.com/docs/alloy/latest/reference/components/discovery/discovery.kubelet/
and https://prometheus.io/docs/prometheus/latest/http_sd/
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sidecar.errors import LimitError
from sidecar.model.hosts import bracket
from sidecar.model.labels.namespace_labels import number_conflicts
from sidecar.model.pods.pod_list import Container, Pod

MAX_RENDERED_BYTES = 64 << 20
_META = "__meta_kubernetes_"
_STRANGE = re.compile(r"[^a-zA-Z0-9_]")


class DiscoveredTarget(NamedTuple):
    """One target; `labels` do not include its address."""

    address: str
    labels: Mapping[str, str]


def discover(
    pods: Iterable[Pod],
    namespaces: Collection[str] = (),
    namespace_labels: Mapping[str, Mapping[str, str]] | None = None,
) -> list[DiscoveredTarget]:
    """Return the targets of pods that have an address.

    Args:
        pods: the pods, in the order of the resulting targets.
        namespaces: namespaces whose pods are discovered; empty for all.
        namespace_labels: labels of namespaces, as far as they are known.
    """
    about = {
        name: dict(_present("namespace_label", labels))
        for name, labels in (namespace_labels or {}).items()
    }
    return [
        target
        for pod in pods
        if pod.ip and (not namespaces or pod.namespace in namespaces)
        for target in _targets(pod, about.get(pod.namespace, {}))
    ]


def render_http_sd(targets: Iterable[DiscoveredTarget], *, indent: int | None = None) -> bytes:
    """Return targets in the format of Prometheus's HTTP service discovery, one group per target.

    Raises:
        LimitError: the output is too large.
    """
    groups: list[str] = []
    size = 0
    for target in targets:
        group = {"targets": [target.address], "labels": target.labels}
        groups.append(json.dumps(group, ensure_ascii=False, indent=indent))
        size += len(groups[-1])
        if size > MAX_RENDERED_BYTES:
            raise LimitError(f"the list of targets exceeds {MAX_RENDERED_BYTES >> 20} MiB")
    comma, end = (", ", "") if indent is None else (",\n", "\n")
    return f"[{end}{comma.join(groups)}{end}]".encode() if groups else b"[]"


def _targets(pod: Pod, namespace: Mapping[str, str]) -> Iterable[DiscoveredTarget]:
    shared = {
        f"{_META}namespace": pod.namespace,
        f"{_META}pod_name": pod.name,
        f"{_META}pod_ip": pod.ip,
        f"{_META}pod_ready": pod.ready,
        f"{_META}pod_phase": pod.phase,
        f"{_META}pod_node_name": pod.node,
        f"{_META}pod_host_ip": pod.host_ip,
        f"{_META}pod_uid": pod.uid,
        **dict(_present("pod_label", pod.labels)),
        **dict(_present("pod_annotation", pod.annotations)),
        **namespace,
    }
    if pod.controller_kind:
        shared[f"{_META}pod_controller_kind"] = pod.controller_kind
    if pod.controller_name:
        shared[f"{_META}pod_controller_name"] = pod.controller_name
    for container in pod.containers:
        labels = {**shared, **_container_labels(container)}
        if not container.ports:
            yield DiscoveredTarget(pod.ip, labels)
        for port in container.ports:
            about_port = {
                f"{_META}pod_container_port_name": port.name,
                f"{_META}pod_container_port_number": str(port.number),
                f"{_META}pod_container_port_protocol": port.protocol,
            }
            yield DiscoveredTarget(f"{bracket(pod.ip)}:{port.number}", {**labels, **about_port})


def _container_labels(container: Container) -> Mapping[str, str]:
    return {
        f"{_META}pod_container_name": container.name,
        f"{_META}pod_container_id": container.id,
        f"{_META}pod_container_image": container.image,
        f"{_META}pod_container_init": "true" if container.is_init else "false",
    }


def _present(kind: str, values: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield a label for each value, and one for its presence; keys that collide are numbered."""
    keys: dict[str, list[str]] = defaultdict(list)
    for key in sorted(values):
        keys[_STRANGE.sub("_", key)].append(key)
    for key, name in number_conflicts(keys).items():
        yield f"{_META}{kind}_{name}", values[key]
        yield f"{_META}{kind}present_{name}", "true"

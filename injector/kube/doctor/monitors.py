"""ServiceMonitors and PodMonitors that scrape an application past its proxy."""

import json
import re
from collections.abc import Iterator, Sequence

from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding, Installation, find_all
from injector.model.cluster import names
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_list,
    get_mapping,
    get_strings,
    labels_of,
    name_of,
    namespace_of,
)
from injector.model.cluster.selectors import selects, selects_namespace

_MOST = 5_000
_MONITORS = "/apis/monitoring.coreos.com/v1"


def look_at_monitors(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Monitors of what a proxy scrapes: its series would come a second time, without labels."""
    selector = {"labelSelector": f"{names.PROXY_LABEL}=pod"}
    pods = find_all(client, "/api/v1/pods", _MOST, **selector)
    for monitor in find_all(client, f"{_MONITORS}/podmonitors", _MOST) if pods else ():
        ports = [
            str(endpoint.get("port") or endpoint.get("portNumber") or endpoint.get("targetPort"))
            for endpoint in _endpoints(monitor, "podMetricsEndpoints")
        ]
        if any(_is_target(pod, port) for pod in _selected(monitor, pods) for port in ports):
            yield _finding("PodMonitor", monitor)
    monitors = find_all(client, f"{_MONITORS}/servicemonitors", _MOST) if pods else ()
    services = find_all(client, "/api/v1/services", _MOST) if monitors else []
    for monitor in monitors:
        chosen = _selected(monitor, services)
        if any(_leads_past(service, monitor, pods) for service in chosen):
            yield _finding("ServiceMonitor", monitor)


def _selected(monitor: Object, objects: Sequence[Object]) -> list[Object]:
    spec = get_mapping(monitor, "spec")
    selector, own = get_mapping(spec, "selector", "spec"), namespace_of(monitor)
    return [
        item
        for item in objects
        if selects_namespace(spec, own, namespace_of(item)) and selects(selector, labels_of(item))
    ]


def _endpoints(monitor: Object, field: str) -> list[Object]:
    return get_list(get_mapping(monitor, "spec"), field, "spec")


def _leads_past(service: Object, monitor: Object, pods: Sequence[Object]) -> bool:
    """Tell whether a monitor's ports of a Service are what a proxy scrapes in a pod behind it."""
    spec = get_mapping(service, "spec")
    wanted = get_strings(spec, "selector", "spec")
    ports = set()
    for endpoint in _endpoints(monitor, "endpoints"):
        if endpoint.get("targetPort"):
            ports.add(str(endpoint["targetPort"]))
        for port in get_list(spec, "ports", "spec"):
            if port.get("name") == endpoint.get("port") and endpoint.get("port"):
                ports.add(str(port.get("targetPort") or port.get("port")))
    behind = (
        pod
        for pod in pods
        if namespace_of(pod) == namespace_of(service) and wanted.items() <= labels_of(pod).items()
    )
    return bool(wanted) and any(_is_target(pod, port) for pod in behind for port in ports)


def _is_target(pod: Object, port: str) -> bool:
    """Tell whether a port, by number or name, is one that the pod's proxy scrapes."""
    try:
        targets = json.loads(annotations_of(pod).get(names.STATUS, "{}")).get("targets", ())
        numbers = {found[1] for item in targets if (found := re.search(r"://:(\d+)", item))}
    except (ValueError, TypeError, AttributeError):
        return False
    spec = get_mapping(pod, "spec")
    declared = [
        item
        for container in (*get_list(spec, "containers"), *get_list(spec, "initContainers"))
        if container.get("name") != names.PROXY_CONTAINER
        for item in get_list(container, "ports")
    ]
    return port in numbers or any(
        item.get("name") == port and str(item.get("containerPort")) in numbers for item in declared
    )


def _finding(kind: str, monitor: Object) -> Finding:
    name = f"{namespace_of(monitor)}/{name_of(monitor)}"
    sentence = f"{kind} {name} scrapes injected pods past their proxies"
    return Finding(False, sentence, "end it; the chart's PodMonitor scrapes the proxies")

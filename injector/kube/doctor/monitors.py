"""Checks for ServiceMonitors and PodMonitors that bypass an application's proxy."""

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
    """Find monitors of a proxy's targets: they scrape the series a second time, without labels."""
    selector = {"labelSelector": f"{names.PROXY_LABEL}=pod"}
    pods = find_all(client, "/api/v1/pods", _MOST, **selector)
    found = find_all(client, f"{_MONITORS}/podmonitors", _MOST) if pods else []
    prefix = "" if any(map(_is_ours, found)) else f"{_enable_ours(installation)}\n"
    for monitor in found:
        chosen = _selected(monitor, pods)
        endpoints = _endpoints(monitor, "podMetricsEndpoints")
        past = [any(_is_target(pod, _port_of(item)) for pod in chosen) for item in endpoints]
        if any(past):
            remedy = prefix + _remove(monitor, "podmonitor", "podMetricsEndpoints", past)
            yield _finding("PodMonitor", monitor, remedy)
    monitors = find_all(client, f"{_MONITORS}/servicemonitors", _MOST) if pods else ()
    services = find_all(client, "/api/v1/services", _MOST) if monitors else []
    for monitor in monitors:
        chosen = _selected(monitor, services)
        endpoints = _endpoints(monitor, "endpoints")
        past = [any(_leads_past(service, item, pods) for service in chosen) for item in endpoints]
        if any(past):
            remedy = prefix + _remove(monitor, "servicemonitor", "endpoints", past)
            yield _finding("ServiceMonitor", monitor, remedy)


def _is_ours(monitor: Object) -> bool:
    return labels_of(monitor).get("app.kubernetes.io/name") == "livery"


def _enable_ours(installation: Installation) -> str:
    """Return the command by which the chart's PodMonitor scrapes the proxies."""
    return (
        f"helm upgrade {installation.name} charts/livery -n {installation.namespace} "
        "--reset-then-reuse-values --set monitoring.podMonitor.enabled=true    # first"
    )


def _port_of(endpoint: Object) -> str:
    return str(endpoint.get("port") or endpoint.get("portNumber") or endpoint.get("targetPort"))


def _remove(monitor: Object, kind: str, field: str, past: Sequence[bool]) -> str:
    """Return the command that removes endpoints; the whole monitor if none would be left."""
    name, kubectl = name_of(monitor), f"kubectl -n {namespace_of(monitor)}"
    if all(past):
        return f"{kubectl} delete {kind} {name}"
    at = [number for number, is_past in enumerate(past) if is_past]
    # From the end, because each removal moves those after it.
    patch = [{"op": "remove", "path": f"/spec/{field}/{number}"} for number in reversed(at)]
    return f"{kubectl} patch {kind} {name} --type json -p '{json.dumps(patch)}'"


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


def _leads_past(service: Object, endpoint: Object, pods: Sequence[Object]) -> bool:
    """Tell whether an endpoint selects a port of a Service that a proxy scrapes in its pods."""
    spec = get_mapping(service, "spec")
    wanted = get_strings(spec, "selector", "spec")
    ports = {str(endpoint["targetPort"])} if endpoint.get("targetPort") else set()
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


def _finding(kind: str, monitor: Object, remedy: str) -> Finding:
    name = f"{namespace_of(monitor)}/{name_of(monitor)}"
    sentence = f"{kind} {name} scrapes injected pods and bypasses their proxies"
    return Finding(False, sentence, remedy)

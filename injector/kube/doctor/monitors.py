"""ServiceMonitors and PodMonitors that scrape an application past its proxy."""

from collections.abc import Iterator, Sequence

from injector.kube.client import KubeClient, Object
from injector.kube.doctor.findings import Finding, Installation, find_all
from injector.model import names
from injector.model.label_selectors import selects, selects_namespace
from injector.model.objects import (
    get_list,
    get_mapping,
    get_strings,
    labels_of,
    name_of,
    namespace_of,
)

_MOST = 5_000
_MONITORS = "/apis/monitoring.coreos.com/v1"
_OURS = frozenset(["livery", "livery-admin"])


def look_at_monitors(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Monitors of injected pods: their series would come a second time, without labels."""
    selector = {"labelSelector": f"{names.PROXY_LABEL}=pod"}
    pods = find_all(client, "/api/v1/pods", _MOST, **selector)
    for monitor in find_all(client, f"{_MONITORS}/podmonitors", _MOST) if pods else ():
        if _ports(monitor, "podMetricsEndpoints") and _selected(monitor, pods):
            yield _finding("PodMonitor", monitor)
    monitors = find_all(client, f"{_MONITORS}/servicemonitors", _MOST) if pods else ()
    services = find_all(client, "/api/v1/services", _MOST) if monitors else []
    for monitor in monitors:
        chosen = _selected(monitor, services)
        if _ports(monitor, "endpoints") and any(_leads_past(service, pods) for service in chosen):
            yield _finding("ServiceMonitor", monitor)


def _selected(monitor: Object, objects: Sequence[Object]) -> list[Object]:
    spec = get_mapping(monitor, "spec")
    selector, own = get_mapping(spec, "selector", "spec"), namespace_of(monitor)
    return [
        item
        for item in objects
        if selects_namespace(spec, own, namespace_of(item)) and selects(selector, labels_of(item))
    ]


def _ports(monitor: Object, field: str) -> list[str]:
    """Return the ports that a monitor names and that are not the proxy's."""
    endpoints = get_list(get_mapping(monitor, "spec"), field, "spec")
    ports = [str(item.get("port") or item.get("targetPort") or "") for item in endpoints]
    return [port for port in ports if port not in _OURS]


def _leads_past(service: Object, pods: Sequence[Object]) -> bool:
    """Tell whether a Service leads to injected pods, and to no port of the proxy."""
    spec = get_mapping(service, "spec")
    wanted = get_strings(spec, "selector", "spec")
    targets = {str(port.get("targetPort", "")) for port in get_list(spec, "ports", "spec")}
    if not wanted or targets & _OURS:
        return False
    return any(
        namespace_of(pod) == namespace_of(service) and wanted.items() <= labels_of(pod).items()
        for pod in pods
    )


def _finding(kind: str, monitor: Object) -> Finding:
    name = f"{namespace_of(monitor)}/{name_of(monitor)}"
    sentence = f"{kind} {name} scrapes injected pods past their proxies"
    return Finding(False, sentence, "end it; the chart's PodMonitor scrapes the proxies")

"""Problems of a running pod with the proxy that it should have."""

import json
from collections.abc import Mapping

from injector.model.cluster import names
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_list,
    get_mapping,
    get_names,
    name_of,
    namespace_of,
)
from injector.platform.settings import Mesh
from sidecar.model.described import Described
from sidecar.model.pods.scrape_annotations import (
    ScrapeAnnotations,
    read_scrape_annotations,
)

_PATH, _SCHEME = "/metrics", "http"
_ISTIO_AGENT = "15020"
"""Istio's agent serves merged metrics here: by default it takes scrape annotations over."""


class Trouble(Described):
    """What is wrong with a pod."""

    MISSING = "missing-proxy", "pods that requested a proxy but run without one"
    DRIFTED = "drifted", "pods whose annotations make Prometheus bypass their proxy"
    CUT_OFF = "cut-off", "pods whose proxy has no stream to the control service"


def find_proxy(pod: Object) -> Object | None:
    """Return the container that Livery added to a pod; None if there is none.

    Raises:
        ObjectError: the pod is malformed.
    """
    spec = get_mapping(pod, "spec")
    for container in (*get_list(spec, "initContainers"), *get_list(spec, "containers")):
        if container.get("name") == names.PROXY_CONTAINER:
            return container
    return None


def find_data_port(pod: Object) -> int | None:
    """Return the port on which a pod's proxy answers scrapes; None if it has none.

    Raises:
        ObjectError: the pod is malformed.
    """
    for port in get_list(find_proxy(pod) or {}, "ports"):
        number = port.get("containerPort")
        if port.get("name") == "livery" and isinstance(number, int):
            return number
    return None


def lead_of(scrape: ScrapeAnnotations) -> str:
    """Return the URL that annotations give to Prometheus, such as `http://:16090/metrics`."""
    said = scrape.values
    scheme, path = said.get("scheme", _SCHEME), said.get("path", _PATH)
    return f"{scheme}://:{said.get('port', '')}{path}"


def is_drifted(pod: Object, mesh: Mesh = Mesh.NONE) -> bool:
    """Return whether the pod's annotations make Prometheus scrape something else than its proxy.

    Args:
        pod: the pod.
        mesh: the platform's; Istio's agent takes scrape annotations over and scrapes the proxy.

    Raises:
        ObjectError: the pod is malformed.
    """
    port = find_data_port(pod)
    annotations = annotations_of(pod)
    scrape = read_scrape_annotations(annotations)
    if port is None:
        return False
    if not scrape.asks:
        return _asked_once(annotations)
    if mesh is Mesh.ISTIO and _is_merged_by_istio(pod, scrape.values):
        return False
    return lead_of(scrape) != f"{_SCHEME}://:{port}{_PATH}"


def _asked_once(annotations: Mapping[str, str]) -> bool:
    """Return whether the pod's original annotations, as recorded by Livery, enabled scrapes."""
    try:
        original = json.loads(annotations.get(names.ORIGINAL, "{}"))
        saved = original["annotations"]
        return read_scrape_annotations({key: str(text) for key, text in saved.items()}).asks
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _is_merged_by_istio(pod: Object, said: Mapping[str, str]) -> bool:
    """Return whether Prometheus scrapes Istio's agent, which in turn scrapes the proxy."""
    spec = get_mapping(pod, "spec")
    containers = (*get_names(spec, "containers"), *get_names(spec, "initContainers"))
    return "istio-proxy" in containers and said.get("port") == _ISTIO_AGENT


def mend_drift(pod: Object) -> str:
    """Return the command that makes Prometheus scrape a drifted pod's proxy again.

    Raises:
        ObjectError: the pod is malformed.
    """
    wanted = {"port": str(find_data_port(pod)), "path": _PATH, "scheme": _SCHEME}
    if not read_scrape_annotations(annotations_of(pod)).asks:
        wanted["scrape"] = "true"
    keys = read_scrape_annotations(annotations_of(pod)).keys
    # Other spellings of `scrape` stay: without them, nothing may scrape the pod.
    gone = [
        f"{key}-" for key in keys if not key.startswith("prometheus.io/") and key[-6:] != "scrape"
    ]
    sets = [f"prometheus.io/{name}={value}" for name, value in wanted.items()]
    where = f"-n {namespace_of(pod)} " if namespace_of(pod) else ""
    return f"kubectl {where}annotate --overwrite pod {name_of(pod)} {' '.join([*sets, *gone])}"


def may_have_a_stream(pod: Object) -> bool:
    """Return whether a pod's proxy runs and has the address of the control service.

    Raises:
        ObjectError: the pod is malformed.
    """
    variables = get_list(find_proxy(pod) or {}, "env")
    if not any(item.get("name") == "LIVERY_CONTROL_URL" for item in variables):
        return False
    status = get_mapping(pod, "status")
    return status.get("phase") == "Running" and any(
        _runs(container)
        for field in ("initContainerStatuses", "containerStatuses")
        for container in get_list(status, field)
        if container.get("name") == names.PROXY_CONTAINER
    )


def _runs(status: Object) -> bool:
    return get_mapping(status, "state").get("running") is not None

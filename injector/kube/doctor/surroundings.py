"""Checks around proxies: admission of a new pod, quotas, NetworkPolicies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding, Installation, find, find_all
from injector.model.admission.decide import DEFAULT_PORT, workload_name
from injector.model.admission.quantities import parse_quantity
from injector.model.admission.templates import security_context
from injector.model.admission.troubles import find_data_port
from injector.model.cluster import names
from injector.model.cluster.network_policies import Peer, Port, admits_connection, admits_scrapes
from injector.model.cluster.objects import (
    Object,
    get_mapping,
    get_names,
    labels_of,
    name_of,
)

CONTROL = Port(8444, "control")
_MOST = 1_000
_SOME = {"cpu": "10m", "memory": "32Mi"}


def try_a_pod(client: KubeClient, installation: Installation, namespace: str) -> Iterator[Finding]:
    """Create an annotated pod as a dry run, which tests admission through the Service."""
    if namespace in (*names.SYSTEM_NAMESPACES, installation.namespace):
        return
    if not _may_create_pods(client, namespace):
        yield Finding(True, f"{namespace}: admission was not tested: you may not create pods")
        return
    warnings: list[str] = []
    try:
        made = _try(client, namespace, {}, warnings.append)
    except KubeError as error:
        if error.status == 0 or error.status >= 500:
            raise
        remedy = f"kubectl -n {namespace} describe quota" if "quota" in str(error) else ""
        yield Finding(False, f"{namespace}: a new pod is rejected: {error}", remedy)
        return
    if names.PROXY_CONTAINER in get_names(get_mapping(made, "spec"), "initContainers"):
        yield Finding(True, f"{namespace}: a new pod gets its proxy")
        return
    said = [text for text in warnings if "proxy" in text]
    why = f": {said[0]}" if said else ""
    sentence = f"{namespace}: the API server admits a new pod without a proxy{why}"
    yield Finding(False, sentence, installation.log)


def _try(
    client: KubeClient, namespace: str, resources: Object, warn: Callable[[str], None]
) -> Object:
    container = {
        "name": "none",
        "image": "none.invalid/none",
        "securityContext": security_context(None),
        "resources": resources,
    }
    body: Object = {
        "metadata": {"name": "livery-doctor", "annotations": {names.INJECT: "true"}},
        "spec": {"automountServiceAccountToken": False, "containers": [container]},
    }
    path = f"/api/v1/namespaces/{namespace}/pods"
    try:
        return client.request("POST", path, query={"dryRun": "All"}, body=dict(body), warn=warn)
    except KubeError as error:
        if resources or "must specify" not in str(error):
            raise
        # The quota requires every container to set resources.
        return _try(client, namespace, {"requests": _SOME, "limits": _SOME}, warn)


def _may_create_pods(client: KubeClient, namespace: str) -> bool:
    attributes = {"verb": "create", "resource": "pods", "namespace": namespace}
    body: dict[str, Any] = {"spec": {"resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return (client.request("POST", path, body=body).get("status") or {}).get("allowed") is True


def look_at_quotas(
    client: KubeClient, namespace: str, resources: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    """Find ResourceQuotas that leave no room for one more proxy.

    Args:
        client: the cluster.
        namespace: its quotas are checked.
        resources: requests and limits of a proxy.
    """
    for quota in find_all(client, f"/api/v1/namespaces/{namespace}/resourcequotas", _MOST):
        spec, status = get_mapping(quota, "spec"), get_mapping(quota, "status")
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # it covers only some pods
        hard, used = get_mapping(status, "hard", "status"), get_mapping(status, "used", "status")
        for resource, needed in _needs(resources).items():
            most, taken = parse_quantity(hard.get(resource)), parse_quantity(used.get(resource))
            wanted = parse_quantity(needed)
            if most is None or taken is None or wanted is None or taken + wanted <= most:
                continue
            sentence = (
                f"{namespace}: quota {name_of(quota)} has {used[resource]} of {hard[resource]} "
                f"{resource} in use; a proxy needs {needed}"
            )
            remedy = f"raise the quota, or set the annotation {_annotation(resource)} on pods"
            yield Finding(False, sentence, remedy)


def _needs(resources: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    requests, limits = resources["requests"], resources["limits"]
    return {
        **{f"requests.{name}": amount for name, amount in requests.items()},
        **{f"limits.{name}": amount for name, amount in limits.items()},
        **requests,
    }


def _annotation(resource: str) -> str:
    kind, _, name = resource.rpartition(".")
    return names.RESOURCES[kind or "requests", name]


def look_at_network(
    client: KubeClient, installation: Installation, namespace: str, injected: Sequence[Object]
) -> Iterator[Finding]:
    """Find NetworkPolicies that block a proxy from Prometheus or from the control service."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    policies = find_all(client, path, _MOST) if injected else []
    if not policies:
        return
    control = _control(client, installation, namespace)
    shut: set[str] = set()
    cut_off: set[str] = set()
    for pod in injected:
        if get_mapping(pod, "spec").get("hostNetwork") is True:
            continue  # no policy applies to it
        if not admits_scrapes(policies, pod, Port(find_data_port(pod) or DEFAULT_PORT, "livery")):
            shut.add(workload_name(pod))
        if control is not None and not admits_connection(policies, pod, CONTROL, control):
            cut_off.add(workload_name(pod))
    for workload in sorted(shut):
        sentence = f"{namespace}: NetworkPolicies block all scrapes of the proxy of {workload}"
        yield Finding(False, sentence, "allow ingress from Prometheus to the port named livery")
    for workload in sorted(cut_off):
        sentence = f"{namespace}: NetworkPolicies block {workload} from the control service"
        remedy = f"allow egress to namespace {installation.namespace}, TCP port {CONTROL.number}"
        yield Finding(False, sentence, remedy)


def _control(client: KubeClient, installation: Installation, namespace: str) -> Peer | None:
    """Return the injector's pods as a NetworkPolicy peer; None if there are none."""
    path = f"/apis/apps/v1/namespaces/{installation.namespace}/deployments/{installation.injector}"
    deployment = find(client, path)
    own = find(client, f"/api/v1/namespaces/{installation.namespace}")
    if deployment is None or own is None:
        return None
    template = get_mapping(get_mapping(deployment, "spec"), "template", "spec")
    return Peer(labels_of(own), labels_of(template), installation.namespace == namespace)

"""Checks of node proxies, if the chart runs them."""

from collections.abc import Iterator
from typing import NamedTuple

from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding, Installation, find
from injector.model.cluster.objects import get_list, get_mapping


class NodeProxies(NamedTuple):
    """How node proxies were started, and how many are ready."""

    kind: str
    wanted: int
    ready: int
    arguments: frozenset[str]


def look_at_nodes(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Check that all node proxies are ready, and that they verify kubelets."""
    proxies = read_node_proxies(client, installation)
    if proxies is None:
        return
    is_well = proxies.ready >= proxies.wanted > 0
    sentence = f"{proxies.ready} of {proxies.wanted} node proxies are ready"
    remedy = f"kubectl -n {installation.namespace} logs {proxies.kind}/{_name(installation)}"
    yield Finding(is_well, sentence, "" if is_well else remedy)
    if "--kubelet-insecure-skip-tls-verify" in proxies.arguments:
        sentence = "kubelets are not verified: a server that poses as one gets the proxies' token"
        yield Finding(False, sentence, installation.reapply("node.insecureSkipTLSVerify=false"))


def read_node_proxies(client: KubeClient, installation: Installation) -> NodeProxies | None:
    """Return the chart's node proxies; None if it runs none.

    Raises:
        KubeError: a request failed.
        ObjectError: the workload is malformed.
    """
    for kind, ready in (("daemonset", "numberReady"), ("deployment", "readyReplicas")):
        path = f"/apis/apps/v1/namespaces/{installation.namespace}/{kind}s/{_name(installation)}"
        found = find(client, path)
        if found is None:
            continue
        spec, status = get_mapping(found, "spec"), get_mapping(found, "status")
        wanted = spec.get("replicas", status.get("desiredNumberScheduled"))
        template = get_mapping(spec, "template", "spec")
        containers = get_list(get_mapping(template, "spec", "spec.template"), "containers", "spec")
        arguments = [str(item) for one in containers for item in one.get("args") or ()]
        return NodeProxies(
            kind, int(wanted or 0), int(status.get(ready) or 0), frozenset(arguments)
        )
    return None


def _name(installation: Installation) -> str:
    return installation.injector.removesuffix("-injector") + "-node"

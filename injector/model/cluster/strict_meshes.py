"""Whether a service mesh requires a client certificate of its own on a pod's port.

What cannot be evaluated here (a default of the mesh's installation, an authorization policy) is
treated as allowing all clients, so that every reported problem is real.
Sources: https://istio.io/latest/docs/reference/config/security/peer_authentication/ and
https://linkerd.io/2/features/server-policy/
"""

from collections.abc import Mapping, Sequence

from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_mapping,
    get_names,
    get_text,
    labels_of,
    name_of,
    namespace_of,
)
from injector.model.cluster.selectors import selects

ISTIO_ROOT = "istio-system"
"""Istio's default root namespace, whose PeerAuthentications apply to the whole mesh."""
_INBOUND = "config.linkerd.io/default-inbound-policy"
_DEMANDING = frozenset(["all-authenticated", "cluster-authenticated", "deny"])


def find_istio_demand(policies: Sequence[Object], pod: Object, port: int) -> str:
    """Return the PeerAuthentication that requires mutual TLS on a pod's port; empty if none does.

    The first mode that is set wins, in the order: port, workload, namespace, mesh.

    Args:
        policies: the PeerAuthentications of the pod's namespace and of the root namespace.
        pod: the pod.
        port: the port's number.

    Raises:
        ObjectError: an object is malformed.
    """
    if not _has_container(pod, "istio-proxy"):
        return ""
    namespace = namespace_of(pod)
    own = [policy for policy in policies if namespace_of(policy) == namespace]
    chosen = [policy for policy in own if _selector(policy) and _selects(policy, pod)]
    wide = [policy for policy in own if not _selector(policy)]
    root = [
        policy
        for policy in policies
        if namespace_of(policy) == ISTIO_ROOT != namespace and not _selector(policy)
    ]
    modes = [(policy, _port_mode(policy, port)) for policy in chosen]
    modes += [(policy, _mode(policy)) for policy in (*chosen, *wide, *root)]
    for policy, mode in modes:
        if mode not in ("", "UNSET"):
            named = f"PeerAuthentication {namespace_of(policy)}/{name_of(policy)}"
            return named if mode == "STRICT" else ""
    return ""


def find_linkerd_demand(
    servers: Sequence[Object], pod: Object, namespace_annotations: Mapping[str, str], port: int
) -> str:
    """Return what requires a mesh identity on a pod's port; empty if nothing does.

    Args:
        servers: Linkerd's Servers of the pod's namespace.
        pod: the pod.
        namespace_annotations: annotations of the pod's namespace.
        port: the number of the port named `livery`.

    Raises:
        ObjectError: an object is malformed.
    """
    if not _has_container(pod, "linkerd-proxy"):
        return ""
    for server in servers:
        spec = get_mapping(server, "spec")
        is_meant = selects(get_mapping(spec, "podSelector", "spec"), labels_of(pod))
        is_open = spec.get("accessPolicy") in ("all-unauthenticated", "audit")
        if is_meant and spec.get("port") in (port, "livery") and not is_open:
            return f"Server {name_of(server)}"
    policy = annotations_of(pod).get(_INBOUND) or namespace_annotations.get(_INBOUND, "")
    return f"{_INBOUND}: {policy}" if policy in _DEMANDING else ""


def _has_container(pod: Object, name: str) -> bool:
    spec = get_mapping(pod, "spec")
    return name in (*get_names(spec, "containers", "spec"), *get_names(spec, "initContainers"))


def _selector(policy: Object) -> Object:
    return get_mapping(get_mapping(policy, "spec"), "selector", "spec")


def _selects(policy: Object, pod: Object) -> bool:
    return selects(_selector(policy), labels_of(pod))


def _mode(policy: Object) -> str:
    return get_text(get_mapping(get_mapping(policy, "spec"), "mtls", "spec"), "mode")


def _port_mode(policy: Object, port: int) -> str:
    levels = get_mapping(get_mapping(policy, "spec"), "portLevelMtls", "spec")
    return get_text(get_mapping(levels, str(port), "spec.portLevelMtls"), "mode")

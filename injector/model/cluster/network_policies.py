"""Whether NetworkPolicies allow scrapes of a proxy, and its connection to the control service.

A rule that cannot be evaluated here (an address range, a source that may be Prometheus) is treated
as allowing the connection, so that every reported problem is real.
Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from injector.model.cluster.objects import Object, get_list, get_mapping, labels_of
from injector.model.cluster.selectors import selects

Labels = Mapping[str, str]


class Peer(NamedTuple):
    """The destination of a connection."""

    namespace_labels: Labels
    pod_labels: Labels
    is_same_namespace: bool


class Port(NamedTuple):
    """A TCP port of a pod: its number, and its name if its container declares one."""

    number: int
    name: str = ""


def admits_scrapes(policies: Sequence[Object], pod: Object, port: Port) -> bool:
    """Return whether anyone may connect to a pod's port.

    Raises:
        ObjectError: a policy is malformed.
    """
    isolating = [policy for policy in policies if _isolates(policy, pod, "Ingress")]
    return not isolating or any(
        _has_port(rule, port) for policy in isolating for rule in _rules(policy, "ingress")
    )


def admits_connection(policies: Sequence[Object], pod: Object, port: Port, peer: Peer) -> bool:
    """Return whether a pod may connect to a peer's port.

    Raises:
        ObjectError: a policy is malformed.
    """
    isolating = [policy for policy in policies if _isolates(policy, pod, "Egress")]
    return not isolating or any(
        _has_port(rule, port) and _leads_to(rule, peer)
        for policy in isolating
        for rule in _rules(policy, "egress")
    )


def _isolates(policy: Object, pod: Object, direction: str) -> bool:
    spec = get_mapping(policy, "spec")
    # Without the field, a policy isolates ingress, and egress only if it has egress rules.
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return direction in types and selects(get_mapping(spec, "podSelector", "spec"), labels_of(pod))


def _rules(policy: Object, field: str) -> list[Object]:
    return get_list(get_mapping(policy, "spec"), field, "spec")


def _has_port(rule: Object, port: Port) -> bool:
    listed = get_list(rule, "ports")
    return not listed or any(_is_port(item, port) for item in listed)


def _is_port(item: Object, port: Port) -> bool:
    if item.get("protocol", "TCP") != "TCP":
        return False
    first, last = item.get("port"), item.get("endPort")
    if first is None or (isinstance(first, str) and first == port.name):
        return True
    if not isinstance(first, int):
        return False
    return first <= port.number <= (last if isinstance(last, int) else first)


def _leads_to(rule: Object, peer: Peer) -> bool:
    listed = get_list(rule, "to")
    return not listed or any(_is_peer(item, peer) for item in listed)


def _is_peer(item: Object, peer: Peer) -> bool:
    if "ipBlock" in item:
        return True
    if "namespaceSelector" in item:
        if not selects(get_mapping(item, "namespaceSelector"), peer.namespace_labels):
            return False
    elif not peer.is_same_namespace:
        return False
    return selects(get_mapping(item, "podSelector"), peer.pod_labels)

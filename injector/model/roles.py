"""What the control service knows of each role of the proxy: the one table of roles."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from injector.errors import IdentityError
from injector.model.cluster.objects import Namespace
from injector.model.cluster.state import ClusterState
from injector.model.policies.node import build_node_keys, build_node_keys_of, is_node_key_of
from injector.model.policies.pod import build_pod_policy
from injector.model.policies.scope import Scope
from injector.platform import Platform
from sidecar.model.labels.namespace_labels import derive_labels


class WholePolicy(NamedTuple):
    """A policy that is sent whole, whatever changed of it."""

    build: Callable[[ClusterState, Scope, Platform], dict[str, Any]]


class KeyedPolicy(NamedTuple):
    """A policy that is sent by key: after a change only the keys that changed."""

    build: Callable[[ClusterState, Platform], dict[str, Any]]
    is_key_of: Callable[[str, Collection[str]], bool]
    """Tells whether a change in these namespaces may change a key."""
    build_of: Callable[[ClusterState, Platform, Collection[str]], dict[str, Any]]
    """Writes these keys."""


class Role(NamedTuple):
    """One role."""

    grant: str
    """The chart's list of service accounts that may have it; empty where no grant is needed."""
    accounts: Callable[[Platform], Collection[str]]
    """That list."""
    scope: Callable[[str, str, Platform], Scope]
    """What a proxy may know, by its namespace and service account."""
    policy: WholePolicy | KeyedPolicy
    series_labels: Callable[[Namespace | None, Platform], Mapping[str, str]]
    """Labels that the status page shows for a proxy, by its namespace."""


def _pod_scope(namespace: str, account: str, platform: Platform) -> Scope:
    return Scope("pod", namespace, knows_all_labels=account in platform.exporters)


def _node_scope(namespace: str, account: str, platform: Platform) -> Scope:
    return Scope("node", knows_all_labels=True)


def _labels_of_namespace(namespace: Namespace | None, platform: Platform) -> Mapping[str, str]:
    return {} if namespace is None else derive_labels(namespace.labels, platform.labels)


def _labels_by_series(namespace: Namespace | None, platform: Platform) -> Mapping[str, str]:
    return {}


ROLES = {
    "pod": Role(
        grant="",
        accounts=lambda platform: (),
        scope=_pod_scope,
        policy=WholePolicy(build_pod_policy),
        series_labels=_labels_of_namespace,
    ),
    "node": Role(
        grant="control.grants.nodes",
        accounts=lambda platform: platform.nodes,
        scope=_node_scope,
        policy=KeyedPolicy(build_node_keys, is_node_key_of, build_node_keys_of),
        series_labels=_labels_by_series,
    ),
}
DEFAULT_ROLE = "pod"
"""For reports of proxies that do not say their role."""


def find_scope(role: str, namespace: str, account: str, platform: Platform) -> Scope:
    """Return what a proxy may know in a role.

    Args:
        role: a key of `ROLES`.
        namespace: the proxy's.
        account: its service account, `namespace/name`.
        platform: the platform's settings, which grant.

    Raises:
        IdentityError: 403, the platform does not grant it the role.
    """
    found = ROLES[role]
    if found.grant and account not in found.accounts(platform):
        raise IdentityError(403, f"{account} is not granted the {role} role ({found.grant})")
    return found.scope(namespace, account, platform)


def series_labels(role: str, namespace: Namespace | None, platform: Platform) -> Mapping[str, str]:
    """Return the labels that the status page shows for a proxy."""
    return ROLES.get(role, ROLES[DEFAULT_ROLE]).series_labels(namespace, platform)


def check_may_judge(account: str, platform: Platform) -> None:
    """Refuse an account that may not ask whose a third party's token is.

    Raises:
        IdentityError: 403, the platform does not grant it that.
    """
    if account not in (*platform.nodes, *platform.gateways):
        raise IdentityError(403, f"{account} is not granted this (control.grants.nodes, gateways)")


def check_is_replica(account: str, own_account: str) -> None:
    """Refuse an account that is not the injector's own.

    Raises:
        IdentityError: 403, it is another's.
    """
    if not own_account or account != own_account:
        raise IdentityError(403, f"{account} is no replica of the injector")

"""The table of proxy roles, with everything that the control service knows about each role."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from injector.errors import IdentityError
from injector.model.cluster.objects import Namespace
from injector.model.cluster.state import ClusterState
from injector.model.policies.aggregate import (
    build_aggregate_keys,
    build_aggregate_keys_of,
    is_aggregate_key_of,
)
from injector.model.policies.collector import (
    build_collector_keys,
    build_collector_keys_of,
    is_collector_key_of,
)
from injector.model.policies.gateway import (
    build_gateway_keys,
    build_gateway_keys_of,
    is_gateway_key_of,
)
from injector.model.policies.node import build_node_keys, build_node_keys_of, is_node_key_of
from injector.model.policies.pod import build_pod_policy
from injector.model.policies.scope import EVERY_NAMESPACE, Scope
from injector.platform.settings import Platform
from sidecar.model.labels.namespace_labels import derive_labels


class WholePolicy(NamedTuple):
    """A policy that is always sent as a whole."""

    build: Callable[[ClusterState, Scope, Platform], dict[str, Any]]


class KeyedPolicy(NamedTuple):
    """A policy that is sent by key; after a change, only the changed keys are sent."""

    build: Callable[[ClusterState, Scope, Platform], dict[str, Any]]
    is_key_of: Callable[[str, Collection[str]], bool]
    """Returns whether a change in these namespaces may affect a key."""
    build_of: Callable[[ClusterState, Scope, Platform, Collection[str]], dict[str, Any]]
    """Builds the keys that a change in these namespaces may affect."""


class Holder(NamedTuple):
    """The pod that requests a role, identified by its token."""

    namespace: str
    pod: str
    account: str
    """Its service account, `namespace/name`."""


class Role(NamedTuple):
    """One role."""

    grant: str
    """The chart's list of service accounts that may have the role; empty if no grant is needed."""
    accounts: Callable[[Platform], Collection[str]]
    """The service accounts that are granted the role."""
    scope: Callable[[Holder, Platform], Scope]
    """What a proxy may know."""
    policy: WholePolicy | KeyedPolicy
    series_labels: Callable[[Namespace | None, Platform], Mapping[str, str]]
    """Labels that the status page shows for a proxy, by its namespace."""


def _pod_scope(holder: Holder, platform: Platform) -> Scope:
    is_exporter = holder.account in platform.exporters
    return Scope("pod", holder.namespace, knows_all_labels=is_exporter)


def _node_scope(holder: Holder, platform: Platform) -> Scope:
    return Scope("node", knows_all_labels=True)


def _gateway_scope(holder: Holder, platform: Platform) -> Scope:
    return Scope("gateway", knows_every_tenant=True)


def _collector_scope(holder: Holder, platform: Platform) -> Scope:
    return Scope("collector", knows_every_tenant=True, pod=holder.pod)


def _aggregate_scope(holder: Holder, platform: Platform) -> Scope:
    granted = {holder.namespace, *platform.aggregates.get(holder.account, ())}
    names = (EVERY_NAMESPACE,) if EVERY_NAMESPACE in granted else tuple(sorted(granted))
    return Scope("aggregate", pods_of=names)


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
    "aggregate": Role(
        grant="",  # none for its own namespace; control.grants.aggregates for others
        accounts=lambda platform: (),
        scope=_aggregate_scope,
        policy=KeyedPolicy(build_aggregate_keys, is_aggregate_key_of, build_aggregate_keys_of),
        series_labels=_labels_by_series,
    ),
    "gateway": Role(
        grant="control.grants.gateways",
        accounts=lambda platform: platform.gateways,
        scope=_gateway_scope,
        policy=KeyedPolicy(build_gateway_keys, is_gateway_key_of, build_gateway_keys_of),
        series_labels=_labels_by_series,
    ),
    "collector": Role(
        grant="control.grants.collectors",
        accounts=lambda platform: platform.collectors,
        scope=_collector_scope,
        policy=KeyedPolicy(build_collector_keys, is_collector_key_of, build_collector_keys_of),
        series_labels=_labels_by_series,
    ),
}
DEFAULT_ROLE = "pod"
"""Role of proxies whose report does not contain one."""


def find_scope(role: str, holder: Holder, platform: Platform) -> Scope:
    """Return what a proxy may know in a role.

    Args:
        role: a key of `ROLES`.
        holder: the proxy's pod.
        platform: the platform's settings, with its grants.

    Raises:
        IdentityError: 403, the role is not granted.
    """
    found = ROLES[role]
    if found.grant and holder.account not in found.accounts(platform):
        sentence = f"{holder.account} is not granted the {role} role: add it to {found.grant}"
        raise IdentityError(403, sentence)
    return found.scope(holder, platform)


def series_labels(role: str, namespace: Namespace | None, platform: Platform) -> Mapping[str, str]:
    """Return the labels that the status page shows for a proxy."""
    return ROLES.get(role, ROLES[DEFAULT_ROLE]).series_labels(namespace, platform)


def check_may_judge(account: str, platform: Platform) -> None:
    """Refuse an account that may not have third parties' tokens verified.

    Raises:
        IdentityError: 403, it is not granted.
    """
    if account not in (*platform.nodes, *platform.gateways):
        raise IdentityError(
            403, f"{account} is in neither control.grants.nodes nor control.grants.gateways"
        )


def check_is_replica(account: str, own_account: str) -> None:
    """Refuse an account that is not the injector's own.

    Raises:
        IdentityError: 403, it is another account.
    """
    if not own_account or account != own_account:
        raise IdentityError(403, f"{account} is not a replica of the injector")

"""A scope's policy as messages, serialized once for all its proxies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.model.roles import ROLES, KeyedPolicy
from injector.platform.settings import Platform
from sidecar.model.policy.collector import CREDENTIAL_PREFIX
from sidecar.model.policy.version import conceal, content_hash, encode, policy_version


@dataclass(frozen=True)
class WholeSnapshot:
    """A policy that is sent whole."""

    version: str
    message: bytes


class Line(NamedTuple):
    """One key as a message."""

    message: bytes
    shown: bytes
    """The part that the version is computed from; it excludes a credential's value."""


@dataclass(frozen=True)
class KeyedSnapshot:
    """A policy that is sent by key."""

    lines: Mapping[str, "Line"] = field(repr=False)
    """The message of each key."""

    @cached_property
    def version(self) -> str:
        """Hash of the content, equal on every replica."""
        return content_hash(*(self.lines[key].shown for key in sorted(self.lines)))

    @cached_property
    def message(self) -> bytes:
        """Every key, then the `synced` message."""
        lines = [line.message for line in self.lines.values()]
        return b"".join([*lines, _synced(self.version)])


Snapshot = WholeSnapshot | KeyedSnapshot


def build_snapshot(cluster: ClusterState, scope: Scope, platform: Platform) -> Snapshot:
    """Build a scope's policy.

    Args:
        cluster: the cluster's state.
        scope: what the proxies may know.
        platform: the platform's settings.
    """
    policy = ROLES[scope.role].policy
    if isinstance(policy, KeyedPolicy):
        return KeyedSnapshot(_put_lines(policy.build(cluster, scope, platform)))
    document = policy.build(cluster, scope, platform)
    version = policy_version(document)
    message = {"type": "policy", "version": version, "policy": document}
    return WholeSnapshot(version, encode(message) + b"\n")


def update_snapshot(
    before: Snapshot,
    changed: frozenset[str],
    *,
    cluster: ClusterState,
    scope: Scope,
    platform: Platform,
) -> Snapshot:
    """Build a scope's policy after a change; by key, only what the change may affect.

    Args:
        before: the policy before the change.
        changed: namespaces in which something changed.
        cluster: the cluster's current state.
        scope: what the proxies may know.
        platform: the platform's settings.
    """
    policy = ROLES[scope.role].policy
    if not isinstance(policy, KeyedPolicy) or isinstance(before, WholeSnapshot):
        return build_snapshot(cluster, scope, platform)
    kept = {key: line for key, line in before.lines.items() if not policy.is_key_of(key, changed)}
    return KeyedSnapshot({**kept, **_put_lines(policy.build_of(cluster, scope, platform, changed))})


def describe_change(before: Snapshot | None, after: Snapshot) -> tuple[bytes, bytes | None]:
    """Return the message that updates a proxy from one policy to the next.

    The second item is an older message to drop if it is still queued, or None.
    """
    if before is None or isinstance(before, WholeSnapshot) or isinstance(after, WholeSnapshot):
        return after.message, None if before is None else before.message
    changed = [line.message for key, line in after.lines.items() if before.lines.get(key) != line]
    gone = [
        encode({"type": "delete", "key": key}) + b"\n"
        for key in before.lines
        if key not in after.lines
    ]
    return b"".join([*changed, *gone, _synced(after.version)]), None


def _put_lines(keys: Mapping[str, Any]) -> dict[str, Line]:
    return {key: _put_line(key, value) for key, value in keys.items()}


def _put_line(key: str, value: Any) -> Line:
    message = _put(key, value)
    is_secret = key.startswith(CREDENTIAL_PREFIX)
    return Line(message, _put(key, conceal(value)) if is_secret else message)


def _put(key: str, value: Any) -> bytes:
    return encode({"type": "put", "key": key, "value": value}) + b"\n"


def _synced(version: str) -> bytes:
    return encode({"type": "synced", "version": version}) + b"\n"

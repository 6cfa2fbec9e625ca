"""Parses MetricAccess objects and evaluates them against the platform's grants.

`sidecar.model.access.objects` parses their read rules, which the gateway also reads by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from injector.errors import ObjectError
from injector.model.cluster.names import METRIC_SOURCES
from injector.model.cluster.objects import Namespace, Object, get_mapping, get_strings, get_text
from injector.platform.settings import Platform
from sidecar.errors import RuleError, show
from sidecar.model.access.objects import EVERY_NAMESPACE, Grant, ReadAccess, grant_of, read_access
from sidecar.model.pods.durations import parse_duration

DEFAULT_INTERVAL_SECONDS = 30.0
MIN_INTERVAL_SECONDS = 5.0
_TARGET_BLOCKS = ("prometheus", "pushgateway", "remoteWrite")


class TargetType(StrEnum):
    """Where an object sends its series."""

    PROMETHEUS = "prometheus"
    """The tenant's own Prometheus, by remote write."""
    PUSHGATEWAY = "pushgateway"
    """A Pushgateway."""
    REMOTE_WRITE = "remote_write"
    """Any receiver of remote write."""


@dataclass(frozen=True, kw_only=True)
class RemoteWrite:
    """The `remoteWrite` settings of an object."""

    enabled: bool
    interval_seconds: float
    target_type: TargetType
    target: Mapping[str, Any]
    """The raw block for the target's type."""
    extra_labels: Mapping[str, str]
    honor_labels: bool
    collect: str
    """`proxies`, `prometheus`, or empty for the chart's default."""


@dataclass(frozen=True, kw_only=True)
class MetricAccess(ReadAccess):
    """One parsed object."""

    remote_write: RemoteWrite | None = None
    remote_write_error: str = ""
    """Why `remoteWrite` is invalid; empty if it is valid or absent."""


def parse_metric_access(obj: Object) -> MetricAccess:
    """Parse an object; mistakes are recorded in its errors and in its patterns' facts.

    Raises:
        ObjectError: it has no usable name or namespace.
    """
    try:
        access = read_access(obj)
    except RuleError as error:
        raise ObjectError(error.field, error.reason) from error
    remote = {} if access.error else _judge_remote_write(obj["spec"].get("remoteWrite") or {})
    return MetricAccess(**vars(access), **remote)


def judge_grant(access: ReadAccess, namespace: Namespace | None, platform: Platform) -> Grant:
    """Decide which namespaces an object may read.

    Args:
        access: the object.
        namespace: its namespace; None if unknown.
        platform: the platform's settings.
    """
    return grant_of(access, _granted(access.namespace, namespace, platform))


def _granted(name: str, namespace: Namespace | None, platform: Platform) -> frozenset[str]:
    if platform.all_namespaces:
        return frozenset([EVERY_NAMESPACE])
    granted = frozenset(platform.cross_namespace.get(name, ()))
    if platform.grants_from_annotations and namespace is not None:
        listed = namespace.annotations.get(METRIC_SOURCES, "")
        granted |= {item.strip() for item in listed.split(",") if item.strip()}
    return granted


def _judge_remote_write(remote: Object) -> dict[str, Any]:
    """Parse `remoteWrite`; a mistake in it does not affect reading."""
    try:
        return {"remote_write": _parse_remote_write(remote) if remote else None}
    except ObjectError as error:
        return {"remote_write_error": str(error)}


def _parse_remote_write(remote: Object) -> RemoteWrite:
    path = "spec.remoteWrite"
    target = get_mapping(remote, "target", path)
    kind_text = get_text(target, "type", f"{path}.target") or TargetType.PROMETHEUS
    try:
        kind = TargetType(kind_text)
    except ValueError:
        reason = f"{show(kind_text)} is not one of {', '.join(TargetType)}"
        raise ObjectError(f"{path}.target.type", reason) from None
    # The documentation puts the block under `target`, the first schema next to it: both are used.
    name = _TARGET_BLOCKS[list(TargetType).index(kind)]
    block = get_mapping(target, name, f"{path}.target") or get_mapping(remote, name, path)
    collect = get_text(remote, "collect", path)
    if collect not in ("", "proxies", "prometheus"):
        raise ObjectError(f"{path}.collect", f"{show(collect)} is neither proxies nor prometheus")
    labels = "extraLabels"
    return RemoteWrite(
        enabled=remote.get("enabled") is True,
        interval_seconds=_interval(get_text(remote, "interval", path)),
        target_type=kind,
        target=block,
        extra_labels=get_strings(remote if labels in remote else target, labels, path),
        honor_labels=remote.get("honorLabels", target.get("honorLabels")) is True,
        collect=collect,
    )


def _interval(text: str) -> float:
    if not text:
        return DEFAULT_INTERVAL_SECONDS
    total = parse_duration(text)
    if total is None:
        raise ObjectError(
            "spec.remoteWrite.interval", f"{text[:40]!r} is not a duration such as 30s"
        )
    if total < MIN_INTERVAL_SECONDS:
        raise ObjectError(
            "spec.remoteWrite.interval", f"{text[:40]!r} is less than {MIN_INTERVAL_SECONDS:g}s"
        )
    return total

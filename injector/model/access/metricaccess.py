"""MetricAccess objects: read, judged against the platform's grants.

`sidecar.model.access.objects` has what they say of reading, which the gateway reads by itself, too.
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
    """What an object says of sending."""

    enabled: bool
    interval_seconds: float
    target_type: TargetType
    target: Mapping[str, Any]
    """The block of the target's type, raw."""
    extra_labels: Mapping[str, str]
    honor_labels: bool
    collect: str
    """`proxies`, `prometheus`, or empty for the chart's default."""


@dataclass(frozen=True, kw_only=True)
class MetricAccess(ReadAccess):
    """One object, read."""

    remote_write: RemoteWrite | None = None
    remote_write_error: str = ""
    """Why nothing is sent though `remoteWrite` is there; empty where all is well."""


def parse_metric_access(obj: Object) -> MetricAccess:
    """Read an object; what is wrong ends up in its errors and in its patterns' facts.

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
    """Decide where an object may read.

    Args:
        access: the object.
        namespace: its namespace, None where it is not known.
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
    """Read what concerns sending; what is wrong there takes no reading away."""
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
    # The document puts the block under `target`, the first schema beside it: both are in use.
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
        raise ObjectError("spec.remoteWrite.interval", f"{text[:40]!r} is not a duration as 30s")
    if total < MIN_INTERVAL_SECONDS:
        raise ObjectError(
            "spec.remoteWrite.interval", f"{text[:40]!r} is under {MIN_INTERVAL_SECONDS:g}s"
        )
    return total

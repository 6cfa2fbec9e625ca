"""MetricAccess objects: read, judged, and turned into what proxies enforce.

A tenant writes its own objects, so they are input, not authority: patterns only narrow, and what a
rule may read beyond its own namespace is the platform's word. What is wrong with an object becomes
facts of its status; an object that cannot be trusted to narrow as meant grants nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from injector.errors import ObjectError
from injector.model.cluster.names import METRIC_SOURCES
from injector.model.cluster.objects import (
    Namespace,
    Object,
    get_mapping,
    get_strings,
    get_text,
    metadata_of,
    name_of,
    namespace_of,
)
from injector.platform import Platform
from sidecar.errors import RuleError, show
from sidecar.model.access.rules import MAX_PATTERNS
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.pods.durations import parse_duration
from sidecar.model.promql.selectors import parse_pattern

API_VERSION = "observability.ethos.io/v1alpha1"
DEFAULT_INTERVAL_SECONDS = 30.0
MIN_INTERVAL_SECONDS = 5.0
MAX_SPEC_BYTES = 128 << 10
"""Of one object, as JSON: its patterns are compiled while nobody else is answered."""
_TARGET_BLOCKS = ("prometheus", "pushgateway", "remoteWrite")


class TargetType(StrEnum):
    """Where an object sends its series."""

    PROMETHEUS = "prometheus"
    """The tenant's own Prometheus, by remote write."""
    PUSHGATEWAY = "pushgateway"
    """A Pushgateway."""
    REMOTE_WRITE = "remote_write"
    """Any receiver of remote write."""


class Acceptance(StrEnum):
    """Whether an object's rules are in force; the `Accepted` condition's reason."""

    ACCEPTED = "Accepted"
    """All of it."""
    SOME_PATTERNS = "SomePatternsInvalid"
    """The valid patterns only."""
    INVALID = "Invalid"
    """None of it: it grants nothing."""


class PatternFact(NamedTuple):
    """One pattern as the status shows it."""

    pattern: str
    kind: str
    """How it is read; empty where it cannot be."""
    note: str
    """What was read otherwise than written, or what is wrong."""

    @property
    def is_valid(self) -> bool:
        """Whether it is in force."""
        return bool(self.kind)


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
class MetricAccess:
    """One object, read."""

    name: str
    namespace: str
    generation: int
    source: str
    metric_isolation: bool | None
    """As the object says; None where it does not."""
    patterns: tuple[PatternFact, ...]
    label_selectors: Mapping[str, str]
    metric_relabelings: tuple[Mapping[str, Any], ...]
    remote_write: RemoteWrite | None
    remote_write_error: str
    """Why nothing is sent though `remoteWrite` is there; empty where all is well."""
    error: str
    """Why it grants nothing; empty where it does."""
    spec_bytes: int
    """Size of what was read, as JSON."""

    @property
    def is_isolated(self) -> bool:
        """Whether it reads no namespace but those that it names."""
        return self.metric_isolation is True

    @property
    def acceptance(self) -> Acceptance:
        """Whether its rules are in force."""
        if self.error:
            return Acceptance.INVALID
        if all(fact.is_valid for fact in self.patterns):
            return Acceptance.ACCEPTED
        return Acceptance.SOME_PATTERNS


class Grant(NamedTuple):
    """Where an object may read: its namespaces, None for all; and what the status says of it."""

    namespaces: frozenset[str] | None
    note: str


def parse_metric_access(obj: Object) -> MetricAccess:
    """Read an object; what is wrong ends up in `error` and in its patterns' facts.

    Raises:
        ObjectError: it has no usable name or namespace.
    """
    spec: Mapping[str, Any] = {}
    facts: dict[str, Any] = {}
    error = ""
    try:
        spec = get_mapping(obj, "spec")
        facts = {"spec_bytes": _measure(spec), **_parse_spec(spec)}
    except ObjectError as failure:
        error = str(failure)
    generation = metadata_of(obj).get("generation", 0)
    defaults: dict[str, Any] = {
        "source": "",
        "metric_isolation": True,
        "patterns": (),
        "label_selectors": {},
        "metric_relabelings": (),
        "remote_write": None,
        "remote_write_error": "",
        "spec_bytes": 0,
    }
    return MetricAccess(
        name=name_of(obj),
        namespace=namespace_of(obj),
        generation=generation if isinstance(generation, int) else 0,
        error=error,
        **{**defaults, **facts},
    )


def grant_of(access: MetricAccess, namespace: Namespace | None, platform: Platform) -> Grant:
    """Decide where an object may read.

    Args:
        access: the object.
        namespace: its namespace, None where it is not known.
        platform: the platform's settings.
    """
    own = frozenset([access.namespace])
    wants_all = not access.is_isolated
    wants = own if not access.source else own | {access.source}
    if not wants_all and wants == own:
        return Grant(own, "")
    granted = _granted(access.namespace, namespace, platform)
    if "*" in granted:
        return Grant(None if wants_all else wants, "")
    allowed = (own | granted) if wants_all else (wants & (own | granted))
    refused = [f"source: {name}" for name in sorted(wants - allowed)]
    if wants_all and allowed == own:
        refused.append(_asked_for_all(access))
    if not refused:
        return Grant(allowed, "")
    verb = "is" if len(refused) == 1 else "are"
    return Grant(
        allowed, f"{' and '.join(refused)} {verb} not granted by the platform; isolation holds"
    )


def _asked_for_all(access: MetricAccess) -> str:
    if access.metric_isolation is None:
        return "reading every namespace (metricIsolation is not said)"
    return "metricIsolation: false"


def rule_of(access: MetricAccess, grant: Grant) -> dict[str, Any] | None:
    """Write an object as a rule of a policy; None where it grants nothing."""
    patterns = [fact.pattern for fact in access.patterns if fact.is_valid]
    if access.error or not patterns:
        return None
    return {
        "name": access.name,
        "patterns": patterns,
        "labelSelectors": dict(access.label_selectors),
        "namespaces": "*" if grant.namespaces is None else sorted(grant.namespaces),
        "metricRelabelings": list(access.metric_relabelings),
    }


def _granted(name: str, namespace: Namespace | None, platform: Platform) -> frozenset[str]:
    if platform.all_namespaces:
        return frozenset("*")
    granted = frozenset(platform.cross_namespace.get(name, ()))
    if platform.grants_from_annotations and namespace is not None:
        listed = namespace.annotations.get(METRIC_SOURCES, "")
        granted |= {item.strip() for item in listed.split(",") if item.strip()}
    return granted


def _parse_spec(spec: Object) -> dict[str, Any]:
    isolation = spec.get("metricIsolation")
    if not isinstance(isolation, bool | None):
        raise ObjectError("spec.metricIsolation", "true or false is needed")
    metrics = spec.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        raise ObjectError("spec.metrics", "a list of patterns is needed")
    if len(metrics) > MAX_PATTERNS:
        raise ObjectError("spec.metrics", f"at most {MAX_PATTERNS} patterns are allowed")
    remote = get_mapping(spec, "remoteWrite", "spec")
    return {
        "source": get_text(spec, "source", "spec"),
        "metric_isolation": isolation,
        "patterns": tuple(_judge(item) for item in metrics),
        "label_selectors": get_strings(spec, "labelSelectors", "spec"),
        "metric_relabelings": _relabelings(remote),
        **_judge_remote_write(remote),
    }


def _measure(spec: Object) -> int:
    size = len(json.dumps(spec, default=str))
    if size > MAX_SPEC_BYTES:
        raise ObjectError("spec", f"{size} bytes as JSON; {MAX_SPEC_BYTES} are allowed")
    return size


def _judge_remote_write(remote: Object) -> dict[str, Any]:
    """Read what concerns sending; what is wrong there takes no reading away."""
    try:
        return {"remote_write": _parse_remote_write(remote) if remote else None}
    except ObjectError as error:
        return {"remote_write_error": str(error)}


def _judge(value: object) -> PatternFact:
    if not isinstance(value, str):
        return PatternFact(repr(value)[:80], "", "a string is needed")
    try:
        pattern = parse_pattern(value)
    except RuleError as error:
        return PatternFact(value, "", error.reason)
    return PatternFact(value, pattern.kind, pattern.note)


def _relabelings(remote: Object) -> tuple[Mapping[str, Any], ...]:
    target = get_mapping(remote, "target", "spec.remoteWrite")
    rules = remote.get("metricRelabelings", target.get("metricRelabelings"))
    try:
        parse_rules(rules, "metricRelabelings")
    except RuleError as error:
        raise ObjectError(f"spec.remoteWrite.{error.field}", error.reason) from error
    return tuple(rules or ())


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

"""The read access that MetricAccess objects describe.

A tenant writes its own objects, so they are input, not authority: patterns only narrow access, and
the platform decides what a rule may read beyond its own namespace. Problems of an object are shown
in its status; an object that might not restrict access as intended grants nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sidecar.errors import RuleError
from sidecar.model.access.rules import MAX_PATTERNS
from sidecar.model.fields import Fields, read_string_map
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.promql.selectors import parse_pattern

API_VERSION = "observability.ethos.io/v1alpha1"
KIND = "MetricAccess"
MAX_SPEC_BYTES = 128 << 10
"""Per object, as JSON: compiling its patterns blocks all other requests."""
EVERY_NAMESPACE = "*"


class Acceptance(StrEnum):
    """Whether an object's rules are active; the reason of the `Accepted` condition."""

    ACCEPTED = "Accepted"
    """All patterns are active."""
    SOME_PATTERNS = "SomePatternsInvalid"
    """Only the valid patterns are active."""
    INVALID = "Invalid"
    """Nothing is active: the object grants nothing."""


class PatternFact(NamedTuple):
    """One pattern as the status shows it."""

    pattern: str
    kind: str
    """How it is interpreted; empty if it is invalid."""
    note: str
    """What was not read literally, or what is wrong."""

    @property
    def is_valid(self) -> bool:
        """Whether it is active."""
        return bool(self.kind)


@dataclass(frozen=True, kw_only=True)
class ReadAccess:
    """The read access that an object describes."""

    name: str
    namespace: str
    generation: int
    source: str = ""
    metric_isolation: bool | None = True
    """As set in the object; None if it is not set."""
    patterns: tuple[PatternFact, ...] = ()
    label_selectors: Mapping[str, str]
    metric_relabelings: tuple[Mapping[str, Any], ...] = ()
    error: str = ""
    """Why the object is invalid and grants nothing; empty if it is valid."""
    spec_bytes: int = 0
    """Size of the spec, as JSON."""

    @property
    def pattern_problems(self) -> tuple[str, ...]:
        """Why patterns are not active, one clause each."""
        wrong = (fact for fact in self.patterns if not fact.is_valid)
        return tuple(f"pattern {fact.pattern[:200]!r}: {fact.note}" for fact in wrong)

    @property
    def is_isolated(self) -> bool:
        """Whether it reads only its own namespace and `source`."""
        return self.metric_isolation is True

    @property
    def acceptance(self) -> Acceptance:
        """Whether its rules are active."""
        if self.error:
            return Acceptance.INVALID
        if all(fact.is_valid for fact in self.patterns):
            return Acceptance.ACCEPTED
        return Acceptance.SOME_PATTERNS


class Grant(NamedTuple):
    """The namespaces that an object may read, None for all, and a note for its status."""

    namespaces: frozenset[str] | None
    note: str


def read_access(obj: Mapping[str, Any]) -> ReadAccess:
    """Read an object; problems are recorded in `error` and `patterns`.

    Raises:
        RuleError: it has no usable name or namespace.
    """
    metadata = Fields(obj).at("metadata")
    generation = metadata.value.get("generation", 0)
    name, namespace = metadata.text("name"), metadata.text("namespace")
    facts: dict[str, Any] = {"label_selectors": {}}
    try:
        spec = Fields(obj).at("spec")
        facts["spec_bytes"] = _measure(spec.value)
        facts |= _read_spec(spec)
    except RuleError as error:
        facts["error"] = str(error)
    generation = generation if isinstance(generation, int) else 0
    return ReadAccess(name=name, namespace=namespace, generation=generation, **facts)


def grant_of(access: ReadAccess, granted: frozenset[str]) -> Grant:
    """Decide which namespaces an object may read.

    Args:
        access: the object.
        granted: namespaces beyond its own that the platform lets it read; `*` for all.
    """
    own = frozenset([access.namespace])
    wants_all = not access.is_isolated
    wants = own if not access.source else own | {access.source}
    if not wants_all and wants == own:
        return Grant(own, "")
    if EVERY_NAMESPACE in granted:
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


def rule_of(access: ReadAccess, grant: Grant) -> dict[str, Any] | None:
    """Return an object as an access rule of a policy; None if it grants nothing."""
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


def _asked_for_all(access: ReadAccess) -> str:
    if access.metric_isolation is None:
        return "reading every namespace (metricIsolation is not set)"
    return "metricIsolation: false"


def _read_spec(spec: Fields) -> dict[str, Any]:
    isolation = spec.value.get("metricIsolation")
    if not isinstance(isolation, bool | None):
        raise RuleError("spec.metricIsolation", "true or false is needed")
    metrics = spec.value.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        raise RuleError("spec.metrics", "a list of patterns is needed")
    if len(metrics) > MAX_PATTERNS:
        raise RuleError("spec.metrics", f"at most {MAX_PATTERNS} patterns are allowed")
    remote = spec.at("remoteWrite")
    selectors = spec.value.get("labelSelectors")
    if "*" in spec.text("source"):
        raise RuleError("spec.source", "the name of one namespace is needed")
    return {
        "source": spec.text("source"),
        "metric_isolation": isolation,
        "patterns": tuple(_judge(item) for item in metrics),
        "label_selectors": read_string_map(selectors, "spec.labelSelectors", null_is_empty=True),
        "metric_relabelings": _relabelings(remote),
    }


def _measure(spec: Mapping[str, Any]) -> int:
    size = len(json.dumps(spec, default=str))
    if size > MAX_SPEC_BYTES:
        raise RuleError("spec", f"{size} bytes as JSON; {MAX_SPEC_BYTES} are allowed")
    return size


def _judge(value: object) -> PatternFact:
    if not isinstance(value, str):
        return PatternFact(repr(value)[:80], "", "a string is needed")
    try:
        pattern = parse_pattern(value)
    except RuleError as error:
        return PatternFact(value, "", error.reason)
    return PatternFact(value, pattern.kind, pattern.note)


def _relabelings(remote: Fields) -> tuple[Mapping[str, Any], ...]:
    target = remote.at("target")
    rules = remote.value.get("metricRelabelings", target.value.get("metricRelabelings"))
    try:
        parse_rules(rules, "metricRelabelings")
    except RuleError as error:
        raise RuleError(f"spec.remoteWrite.{error.field}", error.reason) from error
    return tuple(rules or ())

"""MetricAccess objects, as far as they say what may be read.

A tenant writes its own objects, so they are input, not authority: patterns only narrow, and what a
rule may read beyond its own namespace is the platform's word. What is wrong with an object becomes
facts of its status; an object that cannot be trusted to narrow as meant grants nothing.
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
"""Of one object, as JSON: its patterns are compiled while nobody else is answered."""
EVERY_NAMESPACE = "*"


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
class ReadAccess:
    """What an object says of reading."""

    name: str
    namespace: str
    generation: int
    source: str = ""
    metric_isolation: bool | None = True
    """As the object says; None where it does not."""
    patterns: tuple[PatternFact, ...] = ()
    label_selectors: Mapping[str, str]
    metric_relabelings: tuple[Mapping[str, Any], ...] = ()
    error: str = ""
    """Why it grants nothing; empty where it does."""
    spec_bytes: int = 0
    """Size of what was read, as JSON."""

    @property
    def pattern_problems(self) -> tuple[str, ...]:
        """Why patterns are not in force, a clause each."""
        wrong = (fact for fact in self.patterns if not fact.is_valid)
        return tuple(f"pattern {fact.pattern[:200]!r}: {fact.note}" for fact in wrong)

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


def read_access(obj: Mapping[str, Any]) -> ReadAccess:
    """Read an object; what is wrong ends up in `error` and in its patterns' facts.

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
    """Decide where an object may read.

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


def _asked_for_all(access: ReadAccess) -> str:
    if access.metric_isolation is None:
        return "reading every namespace (metricIsolation is not said)"
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

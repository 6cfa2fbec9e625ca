"""What a tenant's rules let through: compiled MetricAccess objects, evaluated on series.

A rule reaches the proxy with its grants settled: `namespaces` is the platform's word, not the
tenant's. Patterns and label selectors only narrow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sidecar.errors import RuleError
from sidecar.model.fields import read_string_list, read_string_map
from sidecar.model.labels.relabel import Rule, parse_rules, relabel
from sidecar.model.promql.selectors import Pattern, PatternKind, parse_pattern

MAX_PATTERNS = 1000


class Identity(NamedTuple):
    """Who the proxy speaks for: labels that rules see and `/metrics` never shows."""

    namespace: str = ""
    pod: str = ""
    container: str = ""
    job: str = ""
    instance: str = ""

    def virtual_labels(self) -> dict[str, str]:
        """The labels that are known."""
        return {name: value for name, value in self._asdict().items() if value}


@dataclass(frozen=True, kw_only=True)
class AccessRule:
    """One MetricAccess object: any pattern, and all label selectors, within its namespaces."""

    name: str
    patterns: tuple[Pattern, ...]
    label_selectors: Mapping[str, str]
    namespaces: frozenset[str] | None
    """Where it may read; None where the platform granted every namespace."""
    relabelings: tuple[Rule, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the rule lets a series through, `__name__` and virtual labels given."""
        return self.pattern_of(labels) is not None

    def pattern_of(self, labels: Mapping[str, str]) -> Pattern | None:
        """Return the pattern by which the rule lets a series through; None where it does not."""
        if self.namespaces is not None and labels.get("namespace", "") not in self.namespaces:
            return None
        if any(labels.get(name, "") != value for name, value in self.label_selectors.items()):
            return None
        exact = self._names.get(labels.get("__name__", ""))
        if exact is not None:
            return exact
        return next((pattern for pattern in self._others if pattern.matches(labels)), None)

    @cached_property
    def _names(self) -> Mapping[str, Pattern]:
        # Most patterns are plain names: one look finds any of a thousand.
        return {item.text: item for item in self.patterns if item.kind is PatternKind.EXACT}

    @cached_property
    def _others(self) -> tuple[Pattern, ...]:
        return tuple(item for item in self.patterns if item.kind is not PatternKind.EXACT)


def parse_access_rules(value: object, field: str) -> tuple[AccessRule, ...]:
    """Read the rules of a policy, in the order of their names.

    Raises:
        RuleError: a rule is malformed; names the field.
    """
    if not isinstance(value, list):
        raise RuleError(field, "a list of access rules is needed")
    return sort_rules(
        parse_access_rule(item, f"{field}[{index}]") for index, item in enumerate(value)
    )


def sort_rules(rules: Iterable[AccessRule]) -> tuple[AccessRule, ...]:
    """Put rules in the order of their names, in which they are tried."""
    return tuple(sorted(rules, key=lambda rule: rule.name))


def admit(
    labels: Mapping[str, str], rules: Sequence[AccessRule], identity: Identity
) -> dict[str, str] | None:
    """Return the labels under which a series is exposed; None if no rule lets it through.

    Rules are a union. A series takes the relabelings of the first rule, by name, that matches and
    keeps it. Virtual labels stand in where the series has none of its own, save `namespace`,
    which is always the proxy's: a series cannot claim to be of another.
    """
    virtual = identity.virtual_labels()
    seen = {**virtual, **labels, "namespace": virtual.get("namespace", "")}
    for rule in rules:
        if not rule.matches(seen):
            continue
        changed = relabel(seen, rule.relabelings)
        if changed is not None:
            return _without_virtual(changed, labels, seen)
    return None


def _without_virtual(
    changed: Mapping[str, str], labels: Mapping[str, str], seen: Mapping[str, str]
) -> dict[str, str]:
    exposed = {}
    for name, value in changed.items():
        if value != seen.get(name):
            exposed[name] = value
        elif name in labels:
            exposed[name] = labels[name]
    return exposed


def parse_access_rule(value: object, field: str) -> AccessRule:
    """Read one rule.

    Raises:
        RuleError: it is malformed, or has an unknown field, which may narrow it; names the field.
    """
    if not isinstance(value, dict):
        raise RuleError(field, "an access rule is a mapping")
    fields = {"name", "patterns", "labelSelectors", "namespaces", "metricRelabelings"}
    unknown = sorted(map(str, set(value) - fields))
    if unknown:
        raise RuleError(f"{field}.{unknown[0]}", "not a field of an access rule")
    patterns = value.get("patterns", [])
    if not isinstance(patterns, list) or len(patterns) > MAX_PATTERNS:
        raise RuleError(f"{field}.patterns", f"a list of at most {MAX_PATTERNS} is needed")
    namespaces = value.get("namespaces")
    return AccessRule(
        name=str(value.get("name", "")),
        patterns=tuple(
            _parse_pattern(item, f"{field}.patterns[{index}]")
            for index, item in enumerate(patterns)
        ),
        label_selectors=read_string_map(value.get("labelSelectors"), f"{field}.labelSelectors"),
        namespaces=None if namespaces == "*" else _read_namespaces(namespaces, field),
        relabelings=parse_rules(value.get("metricRelabelings"), f"{field}.metricRelabelings"),
    )


def _read_namespaces(value: object, field: str) -> frozenset[str]:
    names = read_string_list(value, f"{field}.namespaces")
    for name in names:
        if "*" in name:
            sentence = f'{name[:60]!r} is no namespace; all of them are namespaces: "*"'
            raise RuleError(f"{field}.namespaces", sentence)
    return frozenset(names)


def _parse_pattern(value: object, field: str) -> Pattern:
    if not isinstance(value, str):
        raise RuleError(field, "a string is needed")
    try:
        return parse_pattern(value)
    except RuleError as error:
        raise RuleError(field, error.reason) from error

"""A tenant's access rules: compiled MetricAccess objects, evaluated on series.

Grants are decided before a rule reaches the proxy: the platform sets `namespaces`, not the tenant.
Patterns and label selectors only narrow access.
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
    """Identity of the workload, as labels that rules see and `/metrics` never shows."""

    namespace: str = ""
    pod: str = ""
    container: str = ""
    job: str = ""
    instance: str = ""

    def virtual_labels(self) -> dict[str, str]:
        """Return the labels that are known."""
        return {name: value for name, value in self._asdict().items() if value}


@dataclass(frozen=True, kw_only=True)
class AccessRule:
    """One MetricAccess object: any pattern and all label selectors match, in its namespaces."""

    name: str
    patterns: tuple[Pattern, ...]
    label_selectors: Mapping[str, str]
    namespaces: frozenset[str] | None
    """Namespaces that it may read; None if the platform granted every namespace."""
    relabelings: tuple[Rule, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the rule allows a series, given `__name__` and the virtual labels."""
        return self.pattern_of(labels) is not None

    def pattern_of(self, labels: Mapping[str, str]) -> Pattern | None:
        """Return the pattern by which the rule allows a series; None if it does not."""
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
        # Most patterns are plain names: one lookup finds any of a thousand.
        return {item.text: item for item in self.patterns if item.kind is PatternKind.EXACT}

    @cached_property
    def _others(self) -> tuple[Pattern, ...]:
        return tuple(item for item in self.patterns if item.kind is not PatternKind.EXACT)


def parse_access_rules(value: object, field: str) -> tuple[AccessRule, ...]:
    """Read the rules of a policy, sorted by name.

    Raises:
        RuleError: a rule is malformed; names the field.
    """
    if not isinstance(value, list):
        raise RuleError(field, "a list of access rules is needed")
    return sort_rules(
        parse_access_rule(item, f"{field}[{index}]") for index, item in enumerate(value)
    )


def sort_rules(rules: Iterable[AccessRule]) -> tuple[AccessRule, ...]:
    """Sort rules by name, the order in which they are tried."""
    return tuple(sorted(rules, key=lambda rule: rule.name))


def admit(
    labels: Mapping[str, str], rules: Sequence[AccessRule], identity: Identity
) -> dict[str, str] | None:
    """Return the labels with which a series is exposed; None if no rule allows it.

    Rules are a union. The relabel rules of the first access rule, by name, that matches and keeps
    the series apply. Virtual labels are used for labels that the series lacks. `namespace` is
    always the proxy's: a series cannot claim another namespace.
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
        RuleError: it is malformed, or has an unknown field, which may be a restriction; names the
            field.
    """
    if not isinstance(value, dict):
        raise RuleError(field, "an access rule must be a mapping")
    fields = {"name", "patterns", "labelSelectors", "namespaces", "metricRelabelings"}
    unknown = sorted(map(str, set(value) - fields))
    if unknown:
        raise RuleError(f"{field}.{unknown[0]}", "not a field of an access rule")
    patterns = value.get("patterns", [])
    if not isinstance(patterns, list) or len(patterns) > MAX_PATTERNS:
        raise RuleError(f"{field}.patterns", f"a list of at most {MAX_PATTERNS} patterns is needed")
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
            sentence = f'{name[:60]!r} is not a namespace; for all, write namespaces: "*"'
            raise RuleError(f"{field}.namespaces", sentence)
    return frozenset(names)


def _parse_pattern(value: object, field: str) -> Pattern:
    if not isinstance(value, str):
        raise RuleError(field, "a string is needed")
    try:
        return parse_pattern(value)
    except RuleError as error:
        raise RuleError(field, error.reason) from error

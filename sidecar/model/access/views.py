"""Converts a tenant's access rules to the gateway's view: one union of conjunctions."""

from collections.abc import Iterable

from sidecar.model.access.rules import AccessRule
from sidecar.model.promql.branches import (
    Branch,
    Guard,
    View,
    equal_guard,
    guard_of,
)
from sidecar.model.promql.matchers import NAME, Condition, Matcher, MatchOp
from sidecar.model.promql.selectors import Pattern


class _Names:
    """Metric names that are visible under the same conditions on labels."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.matchers: dict[str, Matcher] = {}
        self.is_any = False
        self.rules: set[str] = set()

    def add(self, matcher: Matcher | None, rule: str) -> None:
        self.rules.add(rule)
        if matcher is None:
            self.is_any = True
        elif matcher.op is MatchOp.EQUAL:
            self.values.add(matcher.value)
        else:
            self.matchers[matcher.value] = matcher


def view_of(rules: Iterable[AccessRule], namespace_label: str = "namespace") -> View:
    """Return the union of all rules as a view.

    Rules that differ only in metric names become one branch. A rule whose `namespaces` is None may
    read every namespace.
    """
    groups: dict[frozenset[Guard], _Names] = {}
    for rule in rules:
        if rule.namespaces is not None and not rule.namespaces:
            continue  # it may read no namespace
        base = [guard_of(Condition(*item)) for item in _selected(rule)]
        if rule.namespaces is not None:
            isolation = equal_guard(namespace_label, rule.namespaces, is_isolation=True)
            base.append(isolation)
        for pattern in rule.patterns:
            name, others = _split(pattern)
            guards = frozenset([*base, *(guard_of(_condition(item)) for item in others)])
            groups.setdefault(guards, _Names()).add(name, rule.name)
    view = View((), namespace_label)
    return view._replace(branches=tuple(_branch(*item, view) for item in groups.items()))


def _selected(rule: AccessRule) -> list[tuple[str, str, str]]:
    return [(name, "=", value) for name, value in sorted(rule.label_selectors.items())]


def _condition(matcher: Matcher) -> Condition:
    return Condition(matcher.name, matcher.op.value, matcher.value)


def _split(pattern: Pattern) -> tuple[Matcher | None, list[Matcher]]:
    """Separate a single positive matcher on the name from all others."""
    names = [item for item in pattern.matchers if item.name == NAME]
    if len(names) == 1 and names[0].op in (MatchOp.EQUAL, MatchOp.REGEX):
        return names[0], [item for item in pattern.matchers if item.name != NAME]
    return None, list(pattern.matchers)


def _branch(guards: frozenset[Guard], names: _Names, view: View) -> Branch:
    found = list(guards)
    if not names.is_any:
        found.append(equal_guard(NAME, names.values, names.matchers.values()))
    found.sort(key=lambda guard: view.rank(guard.condition))
    return Branch(tuple(found), tuple(sorted(names.rules)))

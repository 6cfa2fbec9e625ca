"""What a tenant may see: a union of conjunctions, and its meeting with a selector.

A selector S within a union of branches B is the union of S ∧ B. Conditions that an equality of S
decides are taken away or end their branch; branches that differ in one pattern become one.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from sidecar.errors import QueryRefusedError
from sidecar.model.promql.ast import Selector
from sidecar.model.promql.matchers import NAME, Condition, Matcher

MAX_STEPS = 200_000
"""Conditions that are looked at to rewrite one query; some 40 ms."""
_IMPOSSIBLE_VALUES = ("-none-", "-never-")
_META = frozenset("\\.+*?()|[]{}^$")


class Budget:
    """What rewriting one query may cost: the rules are the tenant's, and everybody waits.

    Args:
        steps: conditions that may be looked at.
    """

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Count some.

        Raises:
            QueryRefusedError: they are too many.
        """
        self._left -= steps
        if self._left < 0:
            raise QueryRefusedError(
                "the query has too many different selectors, or the access rules too many "
                "different conditions: name metrics, add labels that fewer rules have, or ask in "
                "several queries"
            )


class Decider(Protocol):
    """Decides a condition."""

    def matches(self, value: str) -> bool:
        """Tell whether a label's value fulfils it."""


class OneOf(NamedTuple):
    """Decides whether a value is one of these, or matches a pattern."""

    values: frozenset[str]
    matchers: tuple[Matcher, ...] = ()

    def matches(self, value: str) -> bool:
        """Tell whether it does."""
        return value in self.values or any(item.matches(value) for item in self.matchers)


class Guard(NamedTuple):
    """One condition that a tenant's series fulfil."""

    condition: Condition
    """Never an equality: `absent()` would take labels from one."""
    matcher: Decider
    is_isolation: bool = False
    """Whether it keeps namespaces apart: then it is always written."""

    @property
    def weight(self) -> int:
        """What it costs to decide it."""
        return 1 + len(self.matcher.matchers) if isinstance(self.matcher, OneOf) else 2


class Branch(NamedTuple):
    """One conjunction."""

    guards: tuple[Guard, ...]
    """Sorted by `View.rank`."""
    rules: tuple[str, ...] = ()
    """Names of the access rules that it comes from."""


class View(NamedTuple):
    """All that a tenant may see; without branches, nothing."""

    branches: tuple[Branch, ...]
    namespace_label: str = "namespace"
    refuses_unseen: bool = False
    """Whether a selector of which nothing can be seen is an error, in place of empty."""

    @property
    def weight(self) -> int:
        """What one look at all of it costs."""
        return sum(guard.weight for branch in self.branches for guard in branch.guards)

    @property
    def is_open(self) -> bool:
        """Whether some branch reads every namespace."""
        return any(not any(item.is_isolation for item in one.guards) for one in self.branches)

    def isolates(self, selector: Selector) -> bool:
        """Tell whether a selector is held to namespaces by a condition of ours."""
        label = self.namespace_label
        return any(item.name == label and item.op == "=~" for item in selector.conditions)

    def rank(self, condition: Condition) -> tuple[bool, bool, Condition]:
        """Return what conditions of ours are sorted by: the name, the namespace, the others."""
        return condition.name != NAME, condition.name != self.namespace_label, condition

    def impossible(self) -> tuple[Condition, ...]:
        """Return conditions that no series fulfils, and that give `absent()` no label.

        Prometheus sorts negative ones behind the tenant's own, where they would take a label away.
        """
        return tuple(Condition(self.namespace_label, "=~", text) for text in _IMPOSSIBLE_VALUES)


def equal_guard(
    name: str,
    values: Iterable[str],
    matchers: Iterable[Matcher] = (),
    *,
    is_isolation: bool = False,
) -> Guard:
    """Return the guard of a label that has one of these values, or matches one of these."""
    chosen, others = frozenset(values), tuple(matchers)
    patterns = [*map(quote_pattern, chosen), *(item.value for item in others)]
    condition = Condition(name, "=~", alternatives(patterns))
    return Guard(condition, OneOf(chosen, others), is_isolation)


def guard_of(condition: Condition) -> Guard:
    """Return the guard of any condition; an equality becomes a pattern.

    Raises:
        RuleError: its pattern is not RE2.
    """
    if condition.op == "=":
        return equal_guard(condition.name, [condition.value])
    return Guard(condition, condition.compile())


def quote_pattern(text: str) -> str:
    """Write a text as a pattern that matches it alone."""
    if _META.isdisjoint(text):
        return text
    return "".join(f"\\{char}" if char in _META else char for char in text)


def meet(
    conditions: Sequence[Condition], view: View, budget: Budget
) -> list[tuple[Condition, ...]]:
    """Return what has to be added to a selector: one list of conditions a branch.

    An empty result means that nothing of the selector may be seen.

    Raises:
        QueryRefusedError: to find the fewest costs more than the budget has left.
    """
    left = dict.fromkeys(kept for _, kept in _met(conditions, view))
    if len(left) < 2:
        return list(left)
    branches = _merge([frozenset(item) for item in left], budget)
    return [tuple(sorted(item, key=view.rank)) for item in branches]


def rules_for(conditions: Sequence[Condition], view: View) -> list[str]:
    """Return the names of the access rules by which something of a selector may be seen."""
    return sorted({name for branch, _ in _met(conditions, view) for name in branch.rules})


def _met(
    conditions: Sequence[Condition], view: View
) -> Iterator[tuple[Branch, tuple[Condition, ...]]]:
    """Yield the branches that a selector may meet, with the conditions that each adds to it."""
    pinned = {name: value for name, op, value in conditions if op == "="}
    for branch in view.branches:
        kept = _kept(branch.guards, pinned)
        if kept is not None:
            yield branch, kept


def _kept(guards: tuple[Guard, ...], pinned: dict[str, str]) -> tuple[Condition, ...] | None:
    """Return what is left to be added of a branch; None if it cannot be fulfilled."""
    kept: list[Condition] = []
    for condition, matcher, is_isolation in guards:
        value = pinned.get(condition.name)
        if value is None:
            kept.append(condition)
        elif not matcher.matches(value):
            return None
        elif is_isolation:
            kept.append(condition)
    return tuple(kept)


def _merge(branches: list[frozenset[Condition]], budget: Budget) -> list[frozenset[Condition]]:
    """Make one of branches that differ in one pattern on one label, and of one within another."""
    while len(branches) > 1:
        fewer = _merge_one_label(branches, budget) or _widest(branches, budget)
        if len(fewer) == len(branches):
            break
        branches = fewer
    return branches


def _widest(branches: list[frozenset[Condition]], budget: Budget) -> list[frozenset[Condition]]:
    """Leave out each branch that another one contains."""
    budget.spend(len(branches) ** 2 // 2)
    return [one for one in branches if not any(other < one for other in branches)]


def _merge_one_label(
    branches: list[frozenset[Condition]], budget: Budget
) -> list[frozenset[Condition]]:
    """Make branches one that differ on the first label where some do; none where no label is so."""
    size = sum(map(len, branches))
    budget.spend(2 * size)
    common = frozenset.intersection(*branches)
    for label in sorted({item.name for branch in branches for item in branch - common}):
        budget.spend(size + len(branches))
        groups: dict[frozenset[Condition], list[str]] = {}
        others: list[frozenset[Condition]] = []
        for branch in branches:
            own = [item for item in branch if item.name == label]
            if len(own) == 1 and own[0].op == "=~":
                groups.setdefault(branch - {own[0]}, []).append(own[0].value)
            else:
                others.append(branch)
        if len(groups) + len(others) < len(branches):
            return others + [
                rest | {Condition(label, "=~", alternatives(patterns))}
                for rest, patterns in groups.items()
            ]
    return []


def alternatives(patterns: Sequence[str]) -> str:
    """Return the pattern of what any of these match."""
    if len(patterns) == 1:
        return patterns[0]
    whole = [item if _META.isdisjoint(item) else f"(?:{item})" for item in patterns]
    return "|".join(sorted(set(whole)))

"""What a tenant may see, as a union of conjunctions, and its intersection with a selector.

A selector S within a union of branches B is the union of S ∧ B. An equality of S decides the
conditions on its label: each one that holds is dropped, and one that fails excludes its branch.
Branches that differ in only one pattern are merged.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from sidecar.errors import QueryRefusedError
from sidecar.model.promql.ast import Selector
from sidecar.model.promql.matchers import NAME, Condition, Matcher

MAX_STEPS = 200_000
"""Conditions that may be evaluated to rewrite one query; about 40 ms."""
_IMPOSSIBLE_VALUES = ("-none-", "-never-")
_META = frozenset("\\.+*?()|[]{}^$")


class Budget:
    """Limits the work of rewriting one query: tenants write the rules, and all requests wait.

    Args:
        steps: conditions that may be evaluated.
    """

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Subtract steps from the budget.

        Raises:
            QueryRefusedError: the budget is exceeded.
        """
        self._left -= steps
        if self._left < 0:
            raise QueryRefusedError(
                "the query has too many different selectors, or the access rules have too many "
                "different conditions: name metrics, add label conditions that match fewer rules, "
                "or use several queries"
            )


class Decider(Protocol):
    """Evaluates a condition."""

    def matches(self, value: str) -> bool:
        """Return whether a label's value satisfies the condition."""


class OneOf(NamedTuple):
    """Evaluates whether a value is one of these, or matches a pattern."""

    values: frozenset[str]
    matchers: tuple[Matcher, ...] = ()

    def matches(self, value: str) -> bool:
        """Return whether the value is one of these or matches a pattern."""
        return value in self.values or any(item.matches(value) for item in self.matchers)


class Guard(NamedTuple):
    """One condition that a tenant's series satisfy."""

    condition: Condition
    """Never an equality: `absent()` would take a label from it."""
    matcher: Decider
    is_isolation: bool = False
    """Whether it isolates namespaces; such a condition is always added."""

    @property
    def weight(self) -> int:
        """The cost of evaluating it."""
        return 1 + len(self.matcher.matchers) if isinstance(self.matcher, OneOf) else 2


class Branch(NamedTuple):
    """One conjunction."""

    guards: tuple[Guard, ...]
    """Sorted by `View.rank`."""
    rules: tuple[str, ...] = ()
    """Names of the access rules that it comes from."""


class View(NamedTuple):
    """Everything that a tenant may see; nothing if there are no branches."""

    branches: tuple[Branch, ...]
    namespace_label: str = "namespace"
    refuses_unseen: bool = False
    """Whether a selector with nothing visible is an error instead of an empty result."""

    @property
    def weight(self) -> int:
        """The cost of evaluating every condition once."""
        return sum(guard.weight for branch in self.branches for guard in branch.guards)

    @property
    def is_open(self) -> bool:
        """Whether some branch reads every namespace."""
        return any(not any(item.is_isolation for item in one.guards) for one in self.branches)

    def isolates(self, selector: Selector) -> bool:
        """Return whether a selector has a `=~` condition on the namespace label."""
        label = self.namespace_label
        return any(item.name == label and item.op == "=~" for item in selector.conditions)

    def rank(self, condition: Condition) -> tuple[bool, bool, Condition]:
        """Return the sort key of added conditions: metric name, then namespace, then others."""
        return condition.name != NAME, condition.name != self.namespace_label, condition

    def impossible(self) -> tuple[Condition, ...]:
        """Return conditions that no series satisfies and that give `absent()` no label.

        They are not negative: Prometheus sorts negative conditions after the tenant's own, where
        they would remove a label.
        """
        return tuple(Condition(self.namespace_label, "=~", text) for text in _IMPOSSIBLE_VALUES)


def equal_guard(
    name: str,
    values: Iterable[str],
    matchers: Iterable[Matcher] = (),
    *,
    is_isolation: bool = False,
) -> Guard:
    """Return the guard of a label that has one of these values or satisfies one matcher."""
    chosen, others = frozenset(values), tuple(matchers)
    patterns = [*map(quote_pattern, chosen), *(item.value for item in others)]
    condition = Condition(name, "=~", alternatives(patterns))
    return Guard(condition, OneOf(chosen, others), is_isolation)


def guard_of(condition: Condition) -> Guard:
    """Return the guard of any condition; an equality becomes a pattern.

    Raises:
        RuleError: its pattern is not valid RE2.
    """
    if condition.op == "=":
        return equal_guard(condition.name, [condition.value])
    return Guard(condition, condition.compile())


def quote_pattern(text: str) -> str:
    """Return a pattern that matches exactly this text."""
    if _META.isdisjoint(text):
        return text
    return "".join(f"\\{char}" if char in _META else char for char in text)


def meet(
    conditions: Sequence[Condition], view: View, budget: Budget
) -> list[tuple[Condition, ...]]:
    """Return the conditions to add to a selector, one tuple per branch.

    An empty result means that nothing of the selector is visible.

    Raises:
        QueryRefusedError: merging the branches exceeds the budget.
    """
    left = dict.fromkeys(kept for _, kept in _met(conditions, view))
    if len(left) < 2:
        return list(left)
    branches = _merge([frozenset(item) for item in left], budget)
    return [tuple(sorted(item, key=view.rank)) for item in branches]


def rules_for(conditions: Sequence[Condition], view: View) -> list[str]:
    """Return the names of the access rules that make part of a selector visible."""
    return sorted({name for branch, _ in _met(conditions, view) for name in branch.rules})


def _met(
    conditions: Sequence[Condition], view: View
) -> Iterator[tuple[Branch, tuple[Condition, ...]]]:
    """Yield the branches that a selector can intersect, with the conditions that each adds."""
    pinned = {name: value for name, op, value in conditions if op == "="}
    for branch in view.branches:
        kept = _kept(branch.guards, pinned)
        if kept is not None:
            yield branch, kept


def _kept(guards: tuple[Guard, ...], pinned: dict[str, str]) -> tuple[Condition, ...] | None:
    """Return the conditions of a branch that must be added; None if it cannot match."""
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
    """Merge branches that differ in one pattern on one label; drop those inside another one."""
    while len(branches) > 1:
        fewer = _merge_one_label(branches, budget) or _widest(branches, budget)
        if len(fewer) == len(branches):
            break
        branches = fewer
    return branches


def _widest(branches: list[frozenset[Condition]], budget: Budget) -> list[frozenset[Condition]]:
    """Drop each branch that another one contains."""
    budget.spend(len(branches) ** 2 // 2)
    return [one for one in branches if not any(other < one for other in branches)]


def _merge_one_label(
    branches: list[frozenset[Condition]], budget: Budget
) -> list[frozenset[Condition]]:
    """Merge branches on the first label for which that is possible; empty if there is none."""
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
    """Return a pattern that matches whatever any of these match."""
    if len(patterns) == 1:
        return patterns[0]
    whole = [item if _META.isdisjoint(item) else f"(?:{item})" for item in patterns]
    return "|".join(sorted(set(whole)))

"""Which metrics of a scrape target a tenant may see, judged by the target's labels alone."""

from collections.abc import Mapping
from itertools import chain

from sidecar.model.promql.branches import Branch, Budget, Guard, View, alternatives
from sidecar.model.promql.matchers import NAME, Condition


def target_conditions(view: View) -> tuple[Condition, ...]:
    """Return conditions that limit targets to a view's namespaces; none if it reads all."""
    if view.is_open:
        return ()
    guards = chain.from_iterable(branch.guards for branch in view.branches)
    patterns = {guard.condition.value for guard in guards if guard.is_isolation}
    return (Condition(view.namespace_label, "=~", alternatives(sorted(patterns))),)


class VisibleNames:
    """Metric names of one target that a tenant may see.

    A rule with a condition on a label that the target lacks allows none of them: it is unknown
    whether the target's series have the label.

    Args:
        view: what the tenant may see.
        labels: the target's labels.
        budget: limits the work.

    Raises:
        QueryRefusedError: the budget is exceeded.
    """

    def __init__(self, view: View, labels: Mapping[str, str], budget: Budget) -> None:
        budget.spend(len(view.branches))
        branches = (branch for branch in view.branches if _is_reached(branch, labels))
        self._guards = [
            tuple(guard for guard in branch.guards if guard.condition.name == NAME)
            for branch in branches
        ]
        self._known: dict[str, bool] = {}
        self._budget = budget

    def __contains__(self, name: str) -> bool:
        """Return whether the tenant may see every series of this name from the target."""
        known = self._known.get(name)
        if known is None:
            self._budget.spend(len(self._guards))
            known = self._known[name] = any(_hold(guards, name) for guards in self._guards)
        return known


def _is_reached(branch: Branch, labels: Mapping[str, str]) -> bool:
    others = (guard for guard in branch.guards if guard.condition.name != NAME)
    return all(
        guard.condition.name in labels and guard.matcher.matches(labels[guard.condition.name])
        for guard in others
    )


def _hold(guards: tuple[Guard, ...], name: str) -> bool:
    return all(guard.matcher.matches(name) for guard in guards)

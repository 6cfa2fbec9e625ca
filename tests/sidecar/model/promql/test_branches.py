import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import QueryRefusedError
from sidecar.model.promql.branches import (
    Branch,
    Budget,
    View,
    alternatives,
    equal_guard,
    guard_of,
    meet,
    quote_pattern,
    rules_for,
)
from sidecar.model.promql.matchers import Condition

_SHOP = equal_guard("namespace", ["shop"], is_isolation=True)


def _branch(*conditions: Condition) -> Branch:
    return Branch((_SHOP, *map(guard_of, conditions)))


@given(st.text(max_size=20))
def test_a_quoted_pattern_matches_its_text_alone(text: str) -> None:
    guard = equal_guard("a", [text])

    assert guard.matcher.matches(text)
    assert not guard.matcher.matches(text + "x")
    assert re.fullmatch(quote_pattern(text), text)


def test_an_equality_becomes_a_pattern_and_others_stay() -> None:
    assert guard_of(Condition("a", "=", "x.y")).condition == Condition("a", "=~", "x\\.y")
    assert guard_of(Condition("a", "!=", "x")).condition == Condition("a", "!=", "x")


def test_what_an_equality_decides_is_left_out() -> None:
    view = View((_branch(Condition("tier", "=", "x")), _branch(Condition("tier", "!=", "x"))))

    (first,) = meet([Condition("tier", "=", "x")], view, Budget())
    assert first == (_SHOP.condition,)
    assert meet([Condition("namespace", "=", "bank")], view, Budget()) == []


def test_a_branch_within_another_is_left_out() -> None:
    view = View((_branch(), _branch(Condition("a", "=", "x"))))

    assert meet([], view, Budget()) == [(_SHOP.condition,)]


def test_branches_that_differ_in_one_pattern_become_one() -> None:
    view = View(tuple(_branch(Condition("a", "=", value)) for value in "xyz"))

    assert meet([], view, Budget()) == [(_SHOP.condition, Condition("a", "=~", "x|y|z"))]


def test_branches_that_differ_in_more_stay() -> None:
    view = View((_branch(Condition("a", "=", "x")), _branch(Condition("b", "=", "y"))))

    assert len(meet([], view, Budget())) == 2


@pytest.mark.parametrize(
    ("patterns", "whole"), [(["a"], "a"), (["b", "a", "b"], "a|b"), (["a.*", "b"], "(?:a.*)|b")]
)
def test_alternatives_keep_each_pattern_together(patterns: list[str], whole: str) -> None:
    assert alternatives(patterns) == whole


def test_an_impossible_selector_gives_no_label_to_absence() -> None:
    first, second = View(()).impossible()

    assert (first.op, second.op) == ("=~", "=~")
    assert not second.compile().matches(first.value)


def test_a_view_is_open_if_a_branch_reads_every_namespace() -> None:
    assert not View((_branch(),)).is_open
    assert View((_branch(), Branch((guard_of(Condition("a", "=", "x")),)))).is_open


def test_a_selector_is_seen_by_the_rules_whose_conditions_it_may_fulfil() -> None:
    one, other = _branch(Condition("a", "=", "x")), _branch(Condition("a", "=", "y"))
    view = View((one._replace(rules=("r", "q")), other._replace(rules=("s",))))

    assert rules_for([], view) == ["q", "r", "s"]
    assert rules_for([Condition("a", "=", "y")], view) == ["s"]
    assert rules_for([Condition("a", "=", "z")], view) == []


def test_a_thousand_values_of_one_label_are_one_branch() -> None:
    view = View(tuple(_branch(Condition("a", "=", f"v{at}")) for at in range(1000)))

    assert len(meet([], view, Budget())) == 1


def test_branches_that_become_one_step_by_step_are_bounded_in_sum() -> None:
    """Each merge makes the next one possible, which compares all branches again."""
    values, branches = {f"l{at}": "0" for at in range(10)}, []
    for step in range(90):
        label = f"l{9 - step % 3}"
        branches.append(_branch(*(Condition(n, "=~", v) for n, v in values.items())))
        values[label] = alternatives([values[label], str(step + 1)])
    view = View(tuple(branches))

    assert meet([], view, Budget())
    with pytest.raises(QueryRefusedError, match="too many different conditions"):
        meet([], view, Budget(1_000))

"""Scopes: which changes concern which proxies."""

import pytest

from injector.model.policies.scope import Scope


@pytest.mark.parametrize(
    ("scope", "changed", "is_concerned"),
    [
        (Scope("pod", "shop"), {"shop", "bank"}, True),
        (Scope("pod", "shop"), {"bank"}, False),
        (Scope("pod", "shop"), set(), False),
        (Scope("pod", "shop", knows_all_labels=True), {"bank"}, True),
        (Scope("node", knows_all_labels=True), {""}, True),
        (Scope("aggregate", pods_of=("shop",)), {"shop"}, True),
        (Scope("aggregate", pods_of=("shop",)), {"bank", ""}, False),
        (Scope("aggregate", pods_of=("*",)), {"bank"}, True),
        (Scope("aggregate", pods_of=("*",)), {""}, False),
        (Scope("gateway", knows_every_tenant=True), {"bank"}, True),
    ],
)
def test_a_change_concerns_those_that_may_know_its_namespace(
    scope: Scope, changed: set[str], is_concerned: bool
) -> None:
    assert scope.concerns(frozenset(changed)) is is_concerned


def test_proxies_share_a_policy_only_with_equal_rights() -> None:
    scopes = {
        Scope("pod", "shop"),
        Scope("pod", "shop", knows_all_labels=False),
        Scope("pod", "shop", knows_all_labels=True),
        Scope("pod", "bank"),
        Scope("node", "shop"),
    }

    assert len(scopes) == 4

import pytest

from injector.errors import IdentityError
from injector.model.cluster.objects import Namespace
from injector.model.policies.scope import Scope
from injector.model.roles import ROLES, Holder, check_may_judge, find_scope, series_labels
from injector.platform.settings import Platform

_PLATFORM = Platform(
    exporters=("monitoring/ksm",),
    nodes=("livery/node",),
    gateways=("livery/gate",),
    collectors=("livery/coll",),
    aggregates={"mon/agg": ("shop", "bank"), "mon/all": ("*",)},
)


@pytest.mark.parametrize(
    ("role", "account", "scope"),
    [
        ("pod", "shop/default", Scope("pod", "shop")),
        ("pod", "monitoring/ksm", Scope("pod", "shop", knows_all_labels=True)),
        ("node", "livery/node", Scope("node", "", knows_all_labels=True)),
        ("gateway", "livery/gate", Scope("gateway", knows_every_tenant=True)),
        ("collector", "livery/coll", Scope("collector", knows_every_tenant=True, pod="web-0")),
        ("aggregate", "shop/default", Scope("aggregate", pods_of=("shop",))),
        ("aggregate", "mon/agg", Scope("aggregate", pods_of=("bank", "shop"))),
        ("aggregate", "mon/all", Scope("aggregate", pods_of=("*",))),
    ],
)
def test_the_grant_decides_what_a_proxy_may_know(role: str, account: str, scope: Scope) -> None:
    assert find_scope(role, Holder("shop", "web-0", account), _PLATFORM) == scope


@pytest.mark.parametrize("role", [name for name, role in ROLES.items() if role.grant])
def test_a_role_that_needs_a_grant_is_refused_without_and_names_it(role: str) -> None:
    with pytest.raises(IdentityError, match="shop/default is not granted the") as caught:
        find_scope(role, Holder("shop", "web-0", "shop/default"), _PLATFORM)

    assert caught.value.status == 403
    assert ROLES[role].grant in str(caught.value)


@pytest.mark.parametrize("account", ["livery/node", "livery/gate"])
def test_granted_nodes_and_gateways_may_ask_whose_a_token_is(account: str) -> None:
    check_may_judge(account, _PLATFORM)


def test_others_may_not_ask_whose_a_token_is() -> None:
    with pytest.raises(
        IdentityError, match=r"in neither control\.grants\.nodes nor control\.grants\.gateways"
    ):
        check_may_judge("monitoring/ksm", _PLATFORM)


def test_a_proxys_labels_on_the_page_follow_its_role() -> None:
    shop = Namespace("shop", {"team": "frontend"}, {})

    assert series_labels("pod", shop, Platform()) == {"team": "frontend"}
    assert series_labels("node", shop, Platform()) == {}
    assert series_labels("from-the-future", shop, Platform()) == {"team": "frontend"}
    assert series_labels("pod", None, Platform()) == {}

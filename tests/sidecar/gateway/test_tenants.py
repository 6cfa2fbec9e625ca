from typing import Any

import pytest

from sidecar.gateway.callers.caller import KnownCaller
from sidecar.gateway.refusals import Refusal
from sidecar.gateway.tenants import Sight, Views, choose_tenants, read_names
from sidecar.model.access.rules import parse_access_rules

pytestmark = pytest.mark.anyio

_CALLER = KnownCaller("grafana", frozenset(["shop", "bank"]))


def _views(**tenants: list[dict[str, Any]]) -> Views:
    return Views({name: parse_access_rules(rules, name) for name, rules in tenants.items()})


def _rule(namespace: str) -> dict[str, Any]:
    return {"name": "a", "patterns": ["up"], "namespaces": [namespace]}


@pytest.mark.parametrize(
    ("header", "parameter", "chosen"),
    [
        ("shop", [], ("shop",)),
        ("", ["bank"], ("bank",)),
        (" shop , bank,shop", [], ("bank", "shop")),
    ],
)
async def test_a_request_names_its_tenants(
    header: str, parameter: list[str], chosen: tuple[str, ...]
) -> None:
    assert await choose_tenants(_CALLER, header, parameter) == chosen


async def test_who_may_be_one_tenant_need_not_name_it() -> None:
    assert await choose_tenants(KnownCaller("a", frozenset(["shop"])), "", []) == ("shop",)


@pytest.mark.parametrize(
    ("header", "parameter", "status"),
    [
        ("", [], 400), ("lab", [], 403), ("../shop", [], 403), ("shop", ["bank"], 400),
        ("shop,lab", [], 403), ("Shop", [], 403), (",".join(map(str, range(60))), [], 400),
    ],
)  # fmt: skip
async def test_nobody_is_a_tenant_that_it_may_not_be(
    header: str, parameter: list[str], status: int
) -> None:
    with pytest.raises(Refusal) as caught:
        await choose_tenants(_CALLER, header, parameter)

    assert caught.value.status == status


async def test_who_may_be_no_tenant_is_told_so() -> None:
    with pytest.raises(Refusal, match="a has no tenant of its own: name one in"):
        await choose_tenants(KnownCaller("a", frozenset()), "", [])


def test_a_rewritten_query_is_remembered_for_its_tenants_alone() -> None:
    views = _views(shop=[_rule("shop")], bank=[_rule("bank")])

    assert Sight(views, ("shop",)).rewrite("up").text == 'up{namespace=~"shop"}'
    assert Sight(views, ("bank",)).rewrite("up").text == 'up{namespace=~"bank"}'
    assert views.of(("shop",)).rewrite("up").text == 'up{namespace=~"shop"}'
    assert views.of(("bank", "shop")).rewrite("up").text == 'up{namespace=~"bank|shop"}'


def test_a_tenant_without_rules_sees_nothing() -> None:
    assert "-none-" in _views().of(("shop",)).rewrite("up").text


async def test_who_may_be_several_tenants_names_some() -> None:
    with pytest.raises(Refusal, match=r"grafana may act as several tenants \(bank, shop\)"):
        await choose_tenants(_CALLER, "", [])


def test_what_was_worked_out_stays_for_tenants_whose_rules_stay() -> None:
    before = _views(shop=[_rule("shop")], bank=[_rule("bank")])
    for name in ("shop", "bank"):
        before.of((name,)).rewrite("up")
    after = Views({**before.rules, "bank": parse_access_rules([_rule("lab")], "bank")})
    after.inherit(before)

    assert after.same(before, ("shop",))
    assert not after.same(before, ("bank",))
    assert not after.same(before, ("bank", "shop"))
    assert after.view(("shop",)) is before.view(("shop",))
    assert after.of(("shop",)).rewrite("up") is before.of(("shop",)).rewrite("up")
    assert after.of(("bank",)).rewrite("up").text == 'up{namespace=~"lab"}'


def test_names_are_read_from_a_list() -> None:
    assert read_names(" a, b ,,c") == ["a", "b", "c"]

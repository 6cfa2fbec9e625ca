import asyncio

import pytest

from sidecar.gateway.limits import MAX_COUNTED, Limiter, LocalRates, TenantLimits
from sidecar.gateway.refusals import Refusal

pytestmark = pytest.mark.anyio
_SHOP, _BANK = ("shop",), ("bank",)


async def test_so_many_requests_of_a_tenant_are_under_way_at_once() -> None:
    limiter = Limiter(TenantLimits(concurrency=1))
    turn = await limiter.enter(_SHOP)

    with pytest.raises(Refusal, match="shop has more than 1 requests at once") as caught:
        await limiter.enter(_SHOP)
    assert (caught.value.status, caught.value.retry_seconds) == (429, 1)
    (await limiter.enter(_BANK)).leave()
    turn.leave()
    turn.leave()
    (await limiter.enter(_SHOP)).leave()


async def test_a_tenant_asks_so_often() -> None:
    limiter = Limiter(TenantLimits(requests_per_second=0.001, burst=2))
    for _ in range(2):
        (await limiter.enter(_SHOP)).leave()

    with pytest.raises(Refusal, match=r"more than 0\.001 requests a second") as caught:
        await limiter.enter(_SHOP)
    assert caught.value.retry_seconds == pytest.approx(1000, rel=0.01)
    (await limiter.enter(_BANK)).leave()


async def test_tenants_take_turns_however_many_requests_one_has_waiting() -> None:
    limiter = Limiter(active=1)
    first = await limiter.enter(_SHOP)
    order: list[str] = []

    async def ask(tenants: tuple[str, ...]) -> None:
        turn = await limiter.enter(tenants)
        order.append(tenants[0])
        await asyncio.sleep(0)
        turn.leave()

    tasks = [asyncio.create_task(ask(_SHOP)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(ask(_BANK)))
    await asyncio.sleep(0)
    first.leave()
    await asyncio.gather(*tasks)

    assert order == ["shop", "bank", "shop", "shop"]


async def test_who_stops_waiting_leaves_the_turn_to_the_next() -> None:
    limiter = Limiter(active=1)
    first = await limiter.enter(_SHOP)
    gone, staying = (asyncio.create_task(limiter.enter(_SHOP)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    first.leave()

    (await asyncio.wait_for(staying, 5)).leave()
    assert limiter._left == 1


def test_a_tenant_may_have_bounds_of_its_own() -> None:
    own = TenantLimits(concurrency=3, burst=1000)
    limiter = Limiter(tenants={"shop": own})

    assert limiter.of(_SHOP) is own
    assert limiter.of(_BANK) == TenantLimits()
    assert limiter.of(("bank", "shop")) == TenantLimits(concurrency=3)


async def test_who_asks_for_several_tenants_uses_up_what_each_may() -> None:
    limiter = Limiter(TenantLimits(burst=2, requests_per_second=0.001))
    for tenants in (("bank", "shop"), ("lab", "shop")):
        (await limiter.enter(tenants)).leave()

    with pytest.raises(Refusal, match="shop has more than"):
        await limiter.enter(_SHOP)
    (await limiter.enter(_BANK)).leave()
    assert not limiter._counts


async def test_counts_of_requests_are_bounded() -> None:
    rates = LocalRates()
    for number in range(MAX_COUNTED + 5):
        assert await rates.take(str(number), TenantLimits()) == 0

    assert len(rates._buckets) == MAX_COUNTED

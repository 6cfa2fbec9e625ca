import asyncio

import pytest

from sidecar.scrape.pods import body_room
from sidecar.scrape.pods.body_room import SMALL_BYTES, BodyRoom, BodyShare

pytestmark = pytest.mark.anyio


async def test_a_small_body_takes_of_the_pool_and_gives_it_back() -> None:
    room = BodyRoom(small_bytes=SMALL_BYTES, places=1)
    share = room.share()

    assert share.take(SMALL_BYTES)
    assert not room.share().take(1)
    share.give_back(0)
    assert room.share().take(1)


async def test_what_is_larger_takes_a_place_whatever_the_pool_has_left() -> None:
    room = BodyRoom(small_bytes=10 * SMALL_BYTES, places=1)
    share = room.share()

    assert share.take(SMALL_BYTES)
    assert not share.take(1)
    await share.wait(1)
    assert share.take(100 * SMALL_BYTES)


async def _hold(room: BodyRoom, shares: list[BodyShare]) -> None:
    share = room.share()
    shares.append(share)
    await share.wait(1)
    await asyncio.sleep(60)


async def test_who_waits_gets_the_place_of_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_room, "PATIENCE_SECONDS", 0.05)
    room = BodyRoom(small_bytes=0, places=2)
    shares: list[BodyShare] = []
    holding = [asyncio.create_task(_hold(room, shares)) for _ in range(2)]
    await asyncio.sleep(0)
    shares[0].take(1000)
    waiter = room.share()
    cutting = asyncio.create_task(waiter.wait(1))
    await asyncio.wait([holding[1]], timeout=5)
    shares[1].give_back(0)
    await asyncio.wait_for(cutting, 5)

    assert shares[1].is_cut
    assert not shares[0].is_cut
    holding[0].cancel()


async def test_a_body_that_is_whole_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_room, "PATIENCE_SECONDS", 0.02)
    room = BodyRoom(small_bytes=0, places=1)
    share = room.share()
    await share.wait(1)
    share.arrived()
    waiting = asyncio.create_task(room.share().wait(1))
    await asyncio.sleep(0.1)

    assert not share.is_cut
    assert not waiting.done()
    share.give_back(0)
    await asyncio.wait_for(waiting, 5)


async def test_who_stops_waiting_leaves_the_place_to_the_next() -> None:
    room = BodyRoom(small_bytes=0, places=1)
    share = room.share()
    await share.wait(1)
    gone, staying = (asyncio.create_task(room.share().wait(1)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    share.give_back(0)

    await asyncio.wait_for(staying, 5)

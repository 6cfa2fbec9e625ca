import asyncio
from collections.abc import Iterator

import pytest

from sidecar.scrape.pods.places import Places

pytestmark = pytest.mark.anyio


async def test_a_place_that_is_held_too_long_goes_to_another() -> None:
    places = Places(iter(()), hold_seconds=0.02)
    begun: list[bool] = []
    with places.taken() as place:
        watching = asyncio.create_task(places.watch(lambda: begun.append(True)))
        await asyncio.sleep(0.1)
        watching.cancel()

    assert place.is_given_up
    assert begun == [True]


async def test_it_is_done_when_nobody_asks_any_more() -> None:
    def rest() -> Iterator[int]:
        yield from range(3)

    places = Places(rest(), hold_seconds=1)
    with places.taken(), places.taken():
        assert list(places.rest) == [0, 1, 2]
        assert not places.is_done.is_set()

    assert places.is_done.is_set()

import asyncio
from collections.abc import Iterator

import pytest

from sidecar.forward import queue as module
from sidecar.forward.queue import Batch, SendQueue

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _only_bodies_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 0)


def _batch(number: int, size: int = 10, lane: int = 0, generation: int = 0) -> Batch:
    return Batch(bytes([number]) * size, 100, number, lane, generation)


async def _is_held(queue: SendQueue, least: int = 1) -> bool:
    """Return whether nothing can be taken now."""
    try:
        await asyncio.wait_for(queue.take(least), 0.01)
    except TimeoutError:
        return True
    return False


async def test_batches_are_taken_in_their_order() -> None:
    queue = SendQueue(100)
    for number in range(3):
        assert queue.push(_batch(number)) == 0
    taken = []
    while len(queue):
        batch = await queue.take()
        taken.append(batch.timestamp_ms)
        queue.done(batch)

    assert taken == [0, 1, 2]
    assert (queue.size_bytes, queue.samples) == (0, 0)


async def test_batches_of_one_lane_do_not_overtake() -> None:
    queue = SendQueue(100)
    for number, lane in enumerate((0, 1, 0, 1)):
        queue.push(_batch(number, lane=lane))
    first, second = await queue.take(), await queue.take()

    assert [first.timestamp_ms, second.timestamp_ms] == [0, 1]
    assert await _is_held(queue)
    queue.done(second)
    assert (await queue.take()).timestamp_ms == 3


async def test_another_generation_waits_until_the_last_one_is_through() -> None:
    queue = SendQueue(100)
    queue.push(_batch(0, lane=0, generation=1))
    queue.push(_batch(1, lane=5, generation=2))
    first = await queue.take()

    assert await _is_held(queue)
    queue.done(first)
    assert (await queue.take()).timestamp_ms == 1


async def test_a_batch_that_is_given_back_is_the_first_again() -> None:
    queue = SendQueue(100)
    queue.push(_batch(1))
    queue.push(_batch(2))
    queue.give_back(await queue.take())

    assert (await queue.take()).timestamp_ms == 1
    assert queue.samples == 200


async def test_where_there_is_no_room_the_oldest_goes_and_is_counted() -> None:
    queue = SendQueue(25)
    dropped = [queue.push(_batch(number)) for number in range(4)]

    assert dropped == [0, 0, 100, 100]
    assert (await queue.take()).timestamp_ms == 2
    assert (len(queue), queue.size_bytes, queue.samples) == (2, 20, 200)
    assert queue.oldest_ms == 2


async def test_what_is_being_sent_is_not_dropped() -> None:
    queue = SendQueue(25)
    queue.push(_batch(0))
    first = await queue.take()
    dropped = [queue.push(_batch(number)) for number in range(1, 4)]
    queue.done(first)

    assert dropped == [0, 100, 100]
    assert (await queue.take()).timestamp_ms == 3


async def test_a_batch_that_is_larger_than_all_that_may_wait_is_lost() -> None:
    queue = SendQueue(25)

    assert queue.push(_batch(0, 20)) == 0
    assert queue.push(_batch(1, 60)) == 200
    assert (len(queue), queue.size_bytes) == (0, 0)


async def test_what_is_being_sent_takes_room_too() -> None:
    queue = SendQueue(25)
    queue.push(_batch(0, 20))
    await queue.take()

    assert queue.push(_batch(1, 20)) == 100
    assert (len(queue), queue.size_bytes) == (1, 20)


async def test_who_waits_is_woken_by_the_next_batch() -> None:
    queue = SendQueue(100)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.push(_batch(1))

    assert (await asyncio.wait_for(waiting, 5)).timestamp_ms == 1


async def test_further_senders_take_only_where_many_wait() -> None:
    queue = SendQueue(100)
    for number in range(3):
        queue.push(_batch(number, lane=number))

    assert await _is_held(queue, least=4)
    queue.push(_batch(3, lane=3))
    assert not await _is_held(queue, least=4)


async def test_what_is_cleared_is_counted_and_nothing_waits() -> None:
    queue = SendQueue(100)
    queue.push(_batch(0))
    queue.push(_batch(1))
    await queue.take()

    assert queue.clear() == 200
    await asyncio.wait_for(queue.drained(), 1)
    assert queue.oldest_ms == 0


def test_what_is_held_for_a_batch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 300)
    queue = SendQueue(1000)
    for number in range(10):
        queue.push(_batch(number))

    assert len(queue) == 3
    assert queue.size_bytes == 930


async def test_however_many_wait_for_a_lane_that_is_busy_only_one_is_looked_at() -> None:
    class Watched(list[Batch]):
        looked = 0

        def __iter__(self) -> Iterator[Batch]:
            for batch in super().__iter__():
                self.looked += 1
                yield batch

    queue = SendQueue(1 << 20)
    for number in range(200):
        queue.push(_batch(number))
    await queue.take()
    watched = queue._waiting = Watched(queue._waiting)

    assert await _is_held(queue)
    assert watched.looked <= 2

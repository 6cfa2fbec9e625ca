"""The order and the limits of reviews; here a lock blocks, not an API server."""

import asyncio
import threading

import pytest

from injector.errors import IdentityError
from injector.kube.tokens import queue
from injector.kube.tokens.queue import ReviewQueue

pytestmark = pytest.mark.anyio


class _Slow:
    """A review that blocks until it is released."""

    def __init__(self) -> None:
        self._gate = threading.Event()

    def __call__(self) -> str:
        self._gate.wait(10)
        return "judged"

    def end(self) -> None:
        self._gate.set()


async def test_known_tokens_are_reviewed_while_new_ones_wait() -> None:
    reviews, slow = ReviewQueue(), _Slow()
    junk = [
        asyncio.create_task(reviews.run(slow, peer=f"10.0.0.{n}", is_known=False))
        for n in range(queue.MAX_REVIEWS * 2)
    ]
    await asyncio.sleep(0.01)

    async with asyncio.timeout(5):
        assert await reviews.run(lambda: "known", peer="", is_known=True) == "known"
    slow.end()
    assert set(await asyncio.gather(*junk)) == {"judged"}


async def test_one_client_has_a_bounded_share_of_what_waits() -> None:
    reviews, slow = ReviewQueue(), _Slow()
    greedy = [
        asyncio.create_task(reviews.run(slow, peer="10.0.0.1", is_known=False))
        for _ in range(queue.MAX_WAITING_OF_PEER)
    ]
    await asyncio.sleep(0.01)

    with pytest.raises(IdentityError) as caught:
        await reviews.run(slow, peer="10.0.0.1", is_known=False)
    assert caught.value.status == 503
    other = asyncio.create_task(reviews.run(slow, peer="10.0.0.2", is_known=False))
    await asyncio.sleep(0.01)
    slow.end()
    assert await other == "judged"
    await asyncio.gather(*greedy)


async def test_new_tokens_of_one_address_come_at_a_bounded_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "BURST_OF_PEER", 3.0)
    monkeypatch.setattr(queue, "PER_SECOND_OF_PEER", 0.001)
    reviews = ReviewQueue()
    for _ in range(3):
        await reviews.run(lambda: None, peer="10.0.0.1", is_known=False)

    with pytest.raises(IdentityError, match="too many new tokens from one address"):
        await reviews.run(lambda: None, peer="10.0.0.1", is_known=False)
    await reviews.run(lambda: None, peer="10.0.0.1", is_known=True)
    await reviews.run(lambda: None, peer="10.0.0.2", is_known=False)


async def test_a_review_that_fails_gives_its_place_back() -> None:
    reviews = ReviewQueue()

    def fail() -> None:
        raise IdentityError(401, "no")

    for _ in range(queue.MAX_WAITING_OF_PEER + 1):
        with pytest.raises(IdentityError, match="no"):
            await reviews.run(fail, peer="10.0.0.1", is_known=False)

import asyncio

from injector.control.journal import MAX_REVIEWS, Journal, Reviewed


def _review(name: str) -> Reviewed:
    return Reviewed(0.0, "inject", "shop", name, "injected", "", (), False, 0.001)


def test_the_newest_review_comes_first_and_old_ones_go() -> None:
    journal = Journal()
    for number in range(MAX_REVIEWS + 1):
        journal.add(_review(str(number)))

    assert len(journal.reviews) == MAX_REVIEWS
    assert journal.reviews[0].name == str(MAX_REVIEWS)


def test_a_change_wakes_all_who_wait() -> None:
    async def body() -> None:
        journal = Journal()
        waiting = [asyncio.create_task(journal.wait_beyond(0, 10)) for _ in range(3)]
        await asyncio.sleep(0)
        assert journal.watchers == 3
        journal.add(_review("a"))
        assert await asyncio.gather(*waiting) == [1, 1, 1]
        assert journal.watchers == 0

    asyncio.run(body())


def test_who_is_behind_does_not_wait() -> None:
    journal = Journal()
    journal.ring()

    assert asyncio.run(journal.wait_beyond(0, 10)) == 1


def test_at_the_end_nobody_waits() -> None:
    async def body() -> None:
        journal = Journal()
        waiting = asyncio.create_task(journal.wait_beyond(0, 10))
        await asyncio.sleep(0)
        journal.close()
        await waiting
        await journal.wait_beyond(journal.version, 10)

    asyncio.run(body())


def test_without_a_change_the_time_ends_the_wait() -> None:
    assert asyncio.run(Journal().wait_beyond(0, 0.01)) == 0

"""The cache of token decisions that the hub, the node proxies and the reviewer use."""

import asyncio

import pytest

from sidecar.auth.decisions import DecisionCache, Lane, token_key

pytestmark = pytest.mark.anyio

Cache = DecisionCache[str, Lane]


def _cache(good: int = 4, other: int = 4) -> Cache:
    return DecisionCache(lambda decision: decision, good_limit=good, other_limit=other)


async def _decide(cache: Cache, key: str, decision: Lane) -> None:
    async def answer() -> Lane:
        return decision

    await cache.ask(key, answer)


async def test_equal_questions_at_once_are_asked_once() -> None:
    cache, asked = _cache(), 0

    async def answer() -> Lane:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return Lane.GOOD

    tasks = [cache.ask("a", answer) for _ in range(20)]
    assert (cache.waiting, cache.is_asked("a"), cache.is_asked("b")) == (1, True, False)
    decided = await asyncio.gather(*tasks)

    assert asked == 1
    assert {item.decision for item in decided} == {Lane.GOOD}
    assert cache.waiting == 0


async def test_a_decision_is_kept_with_its_age() -> None:
    cache = _cache()
    await _decide(cache, "a", Lane.GOOD)

    kept = cache.good("a")

    assert kept is not None
    assert (kept.decision, cache.other("a"), cache.good("b")) == (Lane.GOOD, None, None)
    assert kept.age_seconds >= 0


async def test_junk_however_much_pushes_out_no_accepted_token() -> None:
    cache = _cache(good=2, other=3)
    await _decide(cache, "good", Lane.GOOD)
    for number in range(100):
        await _decide(cache, f"junk-{number}", Lane.REFUSED)

    assert cache.good("good") is not None
    kept = [number for number in range(100) if cache.other(f"junk-{number}")]
    assert kept == [97, 98, 99]


async def test_of_too_many_accepted_tokens_the_oldest_goes() -> None:
    cache = _cache(good=2)
    for key in "abc":
        await _decide(cache, key, Lane.GOOD)

    assert [key for key in "abc" if cache.good(key)] == ["b", "c"]


@pytest.mark.parametrize(
    ("later", "is_still_good"), [(Lane.REFUSED, False), (Lane.UNDECIDED, True)]
)
async def test_only_a_refusal_ends_an_acceptance(later: Lane, is_still_good: bool) -> None:
    cache = _cache()
    await _decide(cache, "a", Lane.GOOD)
    await _decide(cache, "a", later)

    assert (cache.good("a") is not None) is is_still_good
    assert cache.other("a") is not None


async def test_an_acceptance_ends_a_refusal() -> None:
    cache = _cache()
    await _decide(cache, "a", Lane.REFUSED)
    await _decide(cache, "a", Lane.GOOD)

    assert cache.other("a") is None


async def test_an_error_is_given_to_all_who_wait_and_not_kept() -> None:
    cache = _cache()

    async def fail() -> Lane:
        raise ValueError("away")

    tasks = [cache.ask("a", fail) for _ in range(3)]
    errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert [str(error) for error in errors] == ["away"] * 3
    assert (cache.good("a"), cache.other("a"), cache.waiting) == (None, None, 0)


async def test_a_caller_that_goes_away_takes_the_answer_from_nobody() -> None:
    cache, begun = _cache(), asyncio.Event()

    async def answer() -> Lane:
        begun.set()
        await asyncio.sleep(0.01)
        return Lane.GOOD

    async def ask() -> Lane:
        return (await asyncio.shield(cache.ask("a", answer))).decision

    first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
    await begun.wait()
    first.cancel()

    assert await second is Lane.GOOD


def test_a_token_is_kept_as_its_hash() -> None:
    assert len(token_key("secret")) == 32
    assert token_key("half \ud800") != token_key("half")

import asyncio

import pytest

from sidecar.gateway.refusals import Cause, Refusal
from sidecar.gateway.sharing import SharedAnswers
from sidecar.http.messages import Response, plain

pytestmark = pytest.mark.anyio


class _Backend:
    """A backend that answers once `may` is set."""

    def __init__(self, answer: Response | Refusal) -> None:
        self.answer = answer
        self.asked = 0
        self.may = asyncio.Event()

    async def ask(self) -> Response:
        self.asked += 1
        await self.may.wait()
        if isinstance(self.answer, Refusal):
            raise self.answer
        return self.answer


async def _waiting(
    shared: SharedAnswers, backend: _Backend, count: int = 3
) -> list[asyncio.Task[Response]]:
    tasks = [asyncio.create_task(shared.get("key", backend.ask)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_one_is_asked_and_all_have_its_answer() -> None:
    shared, backend = SharedAnswers(), _Backend(plain(200, "ok"))
    tasks = await _waiting(shared, backend)
    backend.may.set()

    assert await asyncio.gather(*tasks) == [backend.answer] * 3
    assert backend.asked == 1
    await shared.get("key", backend.ask)
    assert backend.asked == 2


async def test_others_keys_are_asked_apart() -> None:
    shared, backend = SharedAnswers(), _Backend(plain(200, "ok"))
    backend.may.set()
    await asyncio.gather(*(shared.get(key, backend.ask) for key in ("a", "b")))

    assert backend.asked == 2


async def test_a_refusal_is_everybody_s() -> None:
    shared, backend = SharedAnswers(), _Backend(Refusal(Cause.QUERY, 400, "no"))
    tasks = await _waiting(shared, backend)
    backend.may.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert found == [backend.answer] * 3
    assert backend.asked == 1


async def test_who_goes_away_leaves_the_question_to_the_next() -> None:
    shared, backend = SharedAnswers(), _Backend(plain(200, "ok"))
    first, second, third = await _waiting(shared, backend)
    first.cancel()
    third.cancel()
    await asyncio.sleep(0)
    backend.may.set()

    assert (await second).status == 200
    assert backend.asked == 2


async def test_an_answer_that_is_passed_on_while_it_comes_is_one_caller_s() -> None:
    async def parts() -> object:
        yield b"x"

    large = Response(200, b"", parts=parts())  # type: ignore[arg-type]
    shared, backend = SharedAnswers(), _Backend(large)
    tasks = await _waiting(shared, backend)
    backend.may.set()
    await asyncio.gather(*tasks)

    assert backend.asked == 3

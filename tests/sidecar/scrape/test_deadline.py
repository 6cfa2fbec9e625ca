import asyncio
import threading

import pytest

from sidecar.scrape.deadline import Deadline, in_thread

pytestmark = pytest.mark.anyio


def test_a_deadline_comes_when_its_time_is_up_or_when_it_is_told() -> None:
    deadline = Deadline(60)
    assert not deadline.is_over()
    assert 59 < deadline.left_seconds <= 60

    deadline.come()

    assert deadline.is_over()
    assert deadline.left_seconds == 0


async def test_work_is_done_in_another_thread() -> None:
    assert await in_thread(Deadline(60), threading.get_ident) != threading.get_ident()


async def test_who_is_cancelled_waits_for_the_works_end() -> None:
    begun, has_ended = threading.Event(), False
    deadline = Deadline(60)

    def work() -> None:
        nonlocal has_ended
        begun.set()
        while not deadline.is_over():
            pass
        has_ended = True

    task = asyncio.create_task(in_thread(deadline, work))
    await asyncio.to_thread(begun.wait)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert has_ended

import asyncio

import pytest

from sidecar.process.supervisor import keep_up
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio


async def test_a_task_that_failed_is_logged_and_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = 0

    async def run() -> None:
        nonlocal started
        started += 1
        if started < 4:
            raise ZeroDivisionError(f"number {started}")
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_up(run, 0.001))
    await until(lambda: started == 4)
    task.cancel()

    assert caplog.text.count("a task failed; starting it again") == 3
    assert "ZeroDivisionError: number 3" in caplog.text


async def test_a_task_that_returned_is_started_again_without_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = 0

    async def run() -> None:
        nonlocal started
        started += 1

    task = asyncio.create_task(keep_up(run, 0.001))
    await until(lambda: started >= 3)
    task.cancel()

    assert caplog.text == ""


async def test_a_failed_task_waits_before_it_is_started_again() -> None:
    started = 0

    async def run() -> None:
        nonlocal started
        started += 1
        raise ZeroDivisionError

    task = asyncio.create_task(keep_up(run, 3600))
    await until(lambda: started == 1)
    for _ in range(20):
        await asyncio.sleep(0)

    assert (started, task.done()) == (1, False)
    task.cancel()


async def test_a_cancelled_task_ends_with_what_it_keeps_up() -> None:
    is_running = False

    async def run() -> None:
        nonlocal is_running
        is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            is_running = False

    task = asyncio.create_task(keep_up(run, 0.001))
    await until(lambda: is_running)
    task.cancel()

    await until(task.done)
    assert (task.cancelled(), is_running) == (True, False)


async def test_a_task_that_was_cancelled_from_within_is_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_up(run, 0.0))
    await until(lambda: runs == 2)
    task.cancel()

    assert "cancelled from within" in caplog.text

"""Restarts tasks that fail.

Shared with the injector, so it imports nothing else from the proxy.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

RESTART_SECONDS = 5.0


async def keep_up(
    run: Callable[[], Awaitable[None]], restart_seconds: float = RESTART_SECONDS
) -> None:
    """Run a task, and restart it after an unexpected failure, which must not end the process."""
    while True:
        try:
            await run()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            logger.exception("a task was cancelled from within; starting it again")
        except Exception:
            logger.exception("a task failed; starting it again")
        await asyncio.sleep(restart_seconds)

"""A policy stream as an HTTP response: few objects for each proxy, as there are thousands."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from injector.control.hub import Stream

logger = logging.getLogger(__name__)

SEND_TIMEOUT_SECONDS = 30.0


class PolicyStream(Response):
    """Sends a stream's messages until it ends, its proxy goes, or takes nothing.

    Args:
        opening: gives the stream for as long as the response lasts.
        lifetime_seconds: after which the proxy is to come back.
        may_go_on: asked before each message.
    """

    def __init__(
        self,
        opening: AbstractContextManager[Stream],
        lifetime_seconds: float,
        may_go_on: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._opening = opening
        self._lifetime_seconds = lifetime_seconds
        self._may_go_on = may_go_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        with self._opening as stream:
            gone = asyncio.create_task(_until_gone(receive, stream))
            try:
                await self._send_all(stream, send)
            finally:
                gone.cancel()

    async def _send_all(self, stream: Stream, send: Send) -> None:
        async for message in stream.messages(self._lifetime_seconds):
            if not await self._may_go_on():
                break
            part = {"type": "http.response.body", "body": message, "more_body": True}
            if not await _send_in_time(send, part):
                return
        await _send_in_time(send, {"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.close()


async def _send_in_time(send: Send, part: dict[str, object]) -> bool:
    """Send; False where the reader takes nothing: nobody else would notice."""
    sending = asyncio.current_task()
    if sending is None:
        raise RuntimeError("outside a task")
    is_late = False

    def give_up() -> None:
        nonlocal is_late
        is_late = True
        sending.cancel()

    # A timer costs a tenth of `asyncio.timeout`, and this runs for each message of each proxy.
    timer = asyncio.get_running_loop().call_later(SEND_TIMEOUT_SECONDS, give_up)
    try:
        await send(part)
    except asyncio.CancelledError:
        if not is_late:
            raise
        sending.uncancel()
        logger.info("a proxy took nothing from its stream; it is closed")
        return False
    finally:
        timer.cancel()
    return True

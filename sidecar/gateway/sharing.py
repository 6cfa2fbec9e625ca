"""Coalesces identical concurrent requests: one is sent, the others wait for its response."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from enum import Enum, auto

from sidecar.gateway.refusals import Refusal
from sidecar.http.messages import Response


class _Outcome(Enum):
    """Why there is no response to share."""

    GONE = auto()
    """The request ended without a result: the next waiting client sends its own."""
    LARGE = auto()
    """The response is streamed, which is possible to one client only."""


_Shared = Response | Refusal | _Outcome


class SharedAnswers:
    """Requests in flight, by key."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[_Shared]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Response]]) -> Response:
        """Return the response, shared with concurrent requests of the same key.

        Args:
            key: everything that the response depends on.
            ask: sends the request.

        Raises:
            Refusal: what `ask` raised.
        """
        while (under_way := self._under_way.get(key)) is not None:
            # Shielded: a client that disconnects does not cancel the response of the others.
            outcome = await asyncio.shield(under_way)
            if isinstance(outcome, Refusal):
                raise outcome
            if isinstance(outcome, Response):
                return outcome
            if outcome is _Outcome.LARGE:
                return await ask()
        mine: asyncio.Future[_Shared] = asyncio.get_running_loop().create_future()
        self._under_way[key] = mine
        outcome = _Outcome.GONE
        try:
            response = await ask()
            outcome = response if response.parts is None else _Outcome.LARGE
        except Refusal as refusal:
            outcome = refusal
            raise
        finally:
            del self._under_way[key]
            mine.set_result(outcome)
        return response

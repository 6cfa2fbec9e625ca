"""Identical requests at the same time: one is asked, the others wait for its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from enum import Enum, auto

from sidecar.gateway.refusals import Refusal
from sidecar.http.messages import Response


class _Outcome(Enum):
    """What becomes of an answer that cannot be shared."""

    GONE = auto()
    """Whoever asked went away: the next one asks."""
    LARGE = auto()
    """It is passed on while it comes, to one alone."""


_Shared = Response | Refusal | _Outcome


class SharedAnswers:
    """Answers that are under way."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[_Shared]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Response]]) -> Response:
        """Return an answer, perhaps one that somebody else with the same key waits for, too.

        Args:
            key: all that the answer depends on.
            ask: gets the answer.

        Raises:
            Refusal: what `ask` raised.
        """
        while (under_way := self._under_way.get(key)) is not None:
            # Shielded: who goes away does not take the answer from the others.
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

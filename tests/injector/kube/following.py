"""Runs a component that follows an API server for the length of a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar


class Follows(Protocol):
    """A component that follows until it is cancelled."""

    def follow(self) -> Awaitable[None]: ...


T = TypeVar("T", bound=Follows)


@asynccontextmanager
async def following(followed: T) -> AsyncIterator[T]:
    """Run it in the background; gives it back."""
    task = asyncio.ensure_future(followed.follow())
    try:
        yield followed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

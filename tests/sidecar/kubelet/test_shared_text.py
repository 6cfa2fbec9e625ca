"""A text that several readers share."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from sidecar.errors import ExpositionError, LiveryError, UpstreamError, UpstreamTimeoutError
from sidecar.kubelet import shared_text as module
from sidecar.kubelet.shared_text import Reader, SharedText

pytestmark = pytest.mark.anyio


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _all(reader: Reader) -> bytes:
    text = b""
    while part := await reader.next():
        text += part
    return text


class _Parts:
    """A text that starts once `gate` is set, and whether it was closed."""

    def __init__(self, *parts: bytes, error: LiveryError | None = None) -> None:
        self.gate = asyncio.Event()
        self.is_closed = False
        self._parts, self._error = parts, error

    async def read(self) -> AsyncGenerator[bytes, None]:
        try:
            await self.gate.wait()
            for part in self._parts:
                yield part
                await asyncio.sleep(0)
            if self._error is not None:
                raise self._error
        finally:
            self.is_closed = True


async def test_all_who_came_before_it_began_get_the_whole_text() -> None:
    parts = _Parts(b"a", b"b", b"c")
    text = SharedText(parts.read(), _now() + 10)
    readers = [text.join(_now() + 10) for _ in range(3)]
    parts.gate.set()

    assert await asyncio.gather(*map(_all, readers)) == [b"abc"] * 3
    assert not text.is_for(_now())


async def test_nobody_joins_a_text_that_ends_long_before_his_time() -> None:
    text = SharedText(_Parts().read(), _now() + 5)

    assert text.is_for(_now() + 5.5)
    assert not text.is_for(_now() + 9)
    await text.leave(text.join(_now()))


async def test_a_text_that_breaks_off_does_so_for_all() -> None:
    parts = _Parts(b"a", error=ExpositionError(3, "no value"))
    text = SharedText(parts.read(), _now() + 10)
    readers = [text.join(_now() + 10) for _ in range(2)]
    parts.gate.set()
    for reader in readers:
        assert await reader.next() == b"a"
        with pytest.raises(ExpositionError, match="no value"):
            await reader.next()


async def test_a_reader_whose_time_is_over_ends_no_other() -> None:
    parts = _Parts(b"a")
    text = SharedText(parts.read(), _now() + 10)
    hasty, patient = text.join(_now()), text.join(_now() + 10)
    with pytest.raises(UpstreamTimeoutError):
        await hasty.next()
    await text.leave(hasty)
    parts.gate.set()

    assert await _all(patient) == b"a"


async def test_without_readers_the_text_is_given_up() -> None:
    parts = _Parts(b"a")
    text = SharedText(parts.read(), _now() + 10)
    reader = text.join(_now() + 10)
    await asyncio.sleep(0)
    await text.leave(reader)

    assert parts.is_closed
    assert not text.has_readers


async def test_who_takes_nothing_loses_his_answer_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_UNREAD_BYTES", 10)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    parts = _Parts(*[b"x" * 20] * 5)
    text = SharedText(parts.read(), _now() + 10)
    slow, quick = text.join(_now() + 10), text.join(_now() + 10)
    parts.gate.set()

    assert await _all(quick) == b"x" * 100
    assert await slow.next() == b"x" * 20
    with pytest.raises(UpstreamError, match="too slowly"):
        await slow.next()


async def test_one_alone_may_take_as_long_as_its_scrape_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_UNREAD_BYTES", 10)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    parts = _Parts(*[b"x" * 20] * 3)
    text = SharedText(parts.read(), _now() + 10)
    reader = text.join(_now() + 10)
    parts.gate.set()
    await asyncio.sleep(0.1)

    assert await _all(reader) == b"x" * 60


@pytest.mark.parametrize("patience_seconds", [0.05, 10.0])
async def test_who_goes_while_others_wait_for_him_cuts_no_text(
    monkeypatch: pytest.MonkeyPatch, patience_seconds: float
) -> None:
    monkeypatch.setattr(module, "MAX_UNREAD_BYTES", 10)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", patience_seconds)
    parts = _Parts(*[b"x" * 20] * 5)
    text = SharedText(parts.read(), _now() + 10)
    gone, stays = text.join(_now() + 10), text.join(_now() + 10)
    parts.gate.set()
    got = asyncio.create_task(_all(stays))
    await asyncio.sleep(0.02)
    await text.leave(gone)

    async with asyncio.timeout(2):
        assert await got == b"x" * 100


async def test_a_text_that_ends_for_a_reason_nobody_thought_of_is_not_whole() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise ZeroDivisionError

    reader = SharedText(broken(), _now() + 10).join(_now() + 10)

    assert await reader.next() == b"a"
    with pytest.raises(UpstreamError, match="not read to its end"):
        await reader.next()

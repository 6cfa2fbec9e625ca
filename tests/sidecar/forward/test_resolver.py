"""Names are resolved in separate threads, and a lookup that hangs does not block others."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from sidecar.errors import UpstreamError
from sidecar.forward import resolver as module
from sidecar.forward.resolver import Addresses, Resolver, look_up

pytestmark = pytest.mark.anyio


class _Names:
    """A name server that answers names ending in `.slow` only after `go` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()

    def look_up(self, host: str) -> Addresses:
        self.asked.append(host)
        if host.endswith(".slow"):
            self.go.wait(10)
        if host.startswith("no."):
            raise OSError("no such name")
        return ["192.0.2.1"]


@pytest.fixture
def names() -> Iterator[_Names]:
    made = _Names()
    yield made
    made.go.set()


@pytest.mark.parametrize(("host", "address"), [("10.0.0.7", "10.0.0.7"), ("fd00::7", "fd00::7")])
async def test_an_address_is_not_looked_up(names: _Names, host: str, address: str) -> None:
    assert await Resolver(names.look_up).resolve(host) == [address]
    assert names.asked == []


async def test_who_asks_for_the_same_name_shares_one_lookup(names: _Names) -> None:
    resolver = Resolver(names.look_up)
    asks = [asyncio.create_task(resolver.resolve("a.slow")) for _ in range(20)]
    await asyncio.sleep(0)
    names.go.set()

    assert await asyncio.gather(*asks) == [["192.0.2.1"]] * 20
    assert names.asked == ["a.slow"]
    assert not resolver._running


async def test_names_that_hang_hold_neither_another_tenant_nor_other_threads(
    names: _Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.05)
    resolver = Resolver(names.look_up)
    for number in range(40):
        for asker in ("shop", "a", "b", "c"):  # more lookups than asyncio has worker threads
            with pytest.raises(UpstreamError, match="the name lookup failed"):
                await resolver.resolve(f"{number}.{asker}.slow", asker)

    assert len(names.asked) == 4 * module.MAX_LOOKUPS_OF_ONE
    assert await resolver.resolve("a.test", "bank") == ["192.0.2.1"]
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(int) == 0


async def test_a_name_without_addresses_is_not_asked_for_at_once_again(
    names: _Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(names.look_up)
    for _ in range(3):
        with pytest.raises(UpstreamError, match=r"no\.test: .* no such name"):
            await resolver.resolve("no.test")
    assert names.asked == ["no.test"]
    monkeypatch.setattr(module, "REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr(resolver, "_failed", {})
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await resolver.resolve("no.test")

    assert names.asked == ["no.test"] * 3


async def test_where_no_thread_can_be_started_it_is_tried_again_later(
    names: _Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver(names.look_up)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UpstreamError, match="can't start new thread"):
            await resolver.resolve("a.test")
    monkeypatch.setattr(resolver, "_failed", {})

    assert await resolver.resolve("a.test") == ["192.0.2.1"]


async def test_the_system_knows_localhost() -> None:
    assert "127.0.0.1" in await Resolver(look_up).resolve("localhost")


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 300, "\udcff"])
async def test_a_name_that_is_none_is_an_error(host: str) -> None:
    with pytest.raises(UpstreamError, match="the name lookup failed"):
        await Resolver(look_up).resolve(host)

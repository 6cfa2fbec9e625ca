"""A receiver that is killed, slow, cut off or failing gets each sample once, and no other.

One run in `make test`; `make soak` does twenty.
"""

import asyncio
import ipaddress
import json
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import cramjam
import pytest

from sidecar.forward import receiver as module
from sidecar.forward.addresses import Reach
from sidecar.forward.queue import Batch
from sidecar.forward.receiver import Receiver
from sidecar.forward.sender import Sender
from sidecar.model.policy.forward import ReceiverAddress
from sidecar.model.remote_write.requests import write_vector
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program, running_prometheus
from tests.sidecar.apps import http
from tests.sidecar.forward.names import RESOLVER
from tests.sidecar.forward.tunnel import Tunnel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

_RUNS = 20 if os.environ.get("LIVERY_HYPOTHESIS_PROFILE") == "long" else 1
_LOCAL = Reach(is_service=True, allowed=(ipaddress.ip_network("127.0.0.0/8"),))
_SERIES, _LANES, _SECONDS = 40, 4, 12.0
_CONFIG = "global: {}\n"


class _Site:
    """A Prometheus behind a tunnel, and faults of both."""

    def __init__(self, tunnel: Tunnel, folder: Path, stack: ExitStack) -> None:
        self.tunnel = tunnel
        self._folder = folder
        self._stack = stack
        self._part = ExitStack()
        self.prometheus: Prometheus

    def start(self) -> None:
        flags = ["--web.enable-remote-write-receiver"]
        program = have(prometheus_program)
        self._part = self._stack.enter_context(ExitStack())
        self.prometheus = self._part.enter_context(
            running_prometheus(_CONFIG, self._folder, program, flags)
        )
        self.tunnel.target_port = urlsplit(self.prometheus.url).port or 0

    async def kill(self) -> None:
        os.kill(self.prometheus.pid, 9)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(self._part.close)
        await asyncio.to_thread(self.start)

    async def cut(self) -> None:
        self.tunnel.cut()

    async def be_away(self) -> None:
        port, self.tunnel.target_port = self.tunnel.target_port, 1
        self.tunnel.cut()
        await asyncio.sleep(0.7)
        self.tunnel.target_port = port

    async def be_silent(self) -> None:
        self.tunnel.is_silent = True
        await asyncio.sleep(0.7)
        self.tunnel.is_silent = False
        self.tunnel.cut()

    async def be_slow(self) -> None:
        self.tunnel.delay_seconds = 0.1
        await asyncio.sleep(0.7)
        self.tunnel.delay_seconds = 0.0

    async def be_busy(self) -> None:
        await self._say(http(b"busy", status="500 Internal Server Error"))

    async def ask_for_time(self) -> None:
        await self._say(http(b"", status="429 Too Many Requests", headers={"Retry-After": "1"}))

    async def answer_half(self) -> None:
        await self._say(b"HTTP/1.1 200 OK\r\nContent-Le")

    def troubles(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.kill, self.cut, self.be_away, self.be_silent, self.be_slow, self.be_busy,
            self.ask_for_time, self.answer_half,
        ]  # fmt: skip

    async def _say(self, answer: bytes) -> None:
        self.tunnel.answer = answer
        self.tunnel.cut()
        await asyncio.sleep(0.5)
        self.tunnel.answer = b""


def _batch(lane: int, cycle: int, stamp: int) -> Batch:
    series = [
        ({"__name__": "chaos", "n": str(lane * _SERIES + number)}, float(cycle))
        for number in range(_SERIES)
    ]
    ((body, count),) = write_vector(series, stamp)[0]
    return Batch(bytes(cramjam.snappy.compress_raw(body)), count, stamp, lane)


@pytest.mark.parametrize("run", range(_RUNS))
async def test_each_sample_that_was_accepted_arrives_once(
    run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 1.0)
    chance = random.Random(run)
    with ExitStack() as stack:
        async with Tunnel(1) as tunnel:
            site = _Site(tunnel, tmp_path, stack)
            await asyncio.to_thread(site.start)
            address = ReceiverAddress("127.0.0.1", tunnel.port, "/api/v1/write")
            sender = Sender(
                Receiver(address, {}, _LOCAL, resolve=RESOLVER.resolve, connections=4), 64 << 20
            )
            running = asyncio.create_task(sender.run())
            troubles = site.troubles()
            chance.shuffle(troubles)
            stamps = await _feed(sender, troubles)
            async with asyncio.timeout(60):
                await sender.drained()
            running.cancel()
            sender.close()
        query = "/api/v1/query?query=chaos%5B10m%5D"
        found = json.loads(await asyncio.to_thread(site.prometheus.get, query))["data"]["result"]

    assert troubles == []  # every fault has occurred
    assert sender.progress.lost == Counter()
    assert len(found) == _SERIES * _LANES
    for item in found:
        values = [(round(moment * 1000), float(value)) for moment, value in item["values"]]
        assert values == [(stamp, float(cycle)) for cycle, stamp in enumerate(stamps)]


async def _feed(sender: Sender, troubles: list[Callable[[], Awaitable[None]]]) -> list[int]:
    """Push batches while each fault occurs once; return the batches' timestamps."""
    ends = time.monotonic() + _SECONDS
    stamps: list[int] = []

    async def trouble_all() -> None:
        while troubles:
            await troubles.pop()()
            await asyncio.sleep(0.2)

    happening = asyncio.create_task(trouble_all())
    while time.monotonic() < ends:
        stamp = max(int(time.time() * 1000), stamps[-1] + 1 if stamps else 0)
        for lane in range(_LANES):
            sender.push(_batch(lane, len(stamps), stamp))
        stamps.append(stamp)
        await asyncio.sleep(0.05)
    await happening
    return stamps

"""Forwarded samples arrive in a real Prometheus and a real VictoriaMetrics."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cramjam
import pytest

from sidecar.forward.queue import Batch
from sidecar.forward.sender import Sender
from sidecar.model.remote_write.wire import SeriesBlock, write_labels
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program, running_prometheus
from tests.real_parts.victoria import running_victoria, victoria_program
from tests.sidecar.forward.test_sender import receiver_at

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    have(prometheus_program)
    folder: Path = tmp_path_factory.mktemp("receiver")
    flags = ["--web.enable-remote-write-receiver"]
    with running_prometheus("global: {}\n", folder, flags=flags) as running:
        yield running


async def test_a_real_prometheus_has_what_was_sent(prometheus: Prometheus) -> None:
    now = int(time.time() * 1000)
    series = [write_labels({"__name__": "sent", "n": str(number)}) for number in range(100)]
    block = SeriesBlock(series)
    sender = Sender(receiver_at(urlsplit(prometheus.url).port or 0), 1 << 20)
    for cycle in range(5):
        body = block.write([cycle + number / 4 for number in range(100)], now - 5000 + 1000 * cycle)
        sender.push(Batch(bytes(cramjam.snappy.compress_raw(body)), 100, now))
    await sender.flush(10)
    found = await asyncio.to_thread(prometheus.get, "/api/v1/query?query=sent%5B1m%5D")

    assert sender.progress.error == ""
    result = json.loads(found)["data"]["result"]
    assert len(result) == 100
    for item in result:
        number = int(item["metric"]["n"])
        assert [float(value) for _, value in item["values"]] == [
            cycle + number / 4 for cycle in range(5)
        ]


async def test_a_real_victoriametrics_has_what_was_sent(tmp_path: Path) -> None:
    have(lambda: victoria_program("victoria-metrics"))
    now = int(time.time() * 1000)
    block = SeriesBlock([write_labels({"__name__": "sent", "n": str(n)}) for n in range(10)])
    with running_victoria(tmp_path) as port:
        sender = Sender(receiver_at(port), 1 << 20)
        for cycle in range(3):
            body = block.write([float(cycle)] * 10, now - 3000 + 1000 * cycle)
            sender.push(Batch(bytes(cramjam.snappy.compress_raw(body)), 10, now))
        await sender.flush(10)
        url = f"http://127.0.0.1:{port}/api/v1/export?match%5B%5D=sent"
        said = b""
        async with asyncio.timeout(20):
            while said.count(b"\n") < 10:
                await asyncio.sleep(0.2)
                said = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())

    assert sender.progress.lost.total() == 0
    for line in said.splitlines():
        found = json.loads(line)
        assert found["values"] == [0, 1, 2]
        assert found["timestamps"] == [now - 3000, now - 2000, now - 1000]


async def test_a_prometheus_that_takes_no_writes_says_what_it_needs(tmp_path: Path) -> None:
    have(prometheus_program)
    with running_prometheus("global: {}\n", tmp_path) as plain:
        sender = Sender(receiver_at(urlsplit(plain.url).port or 0), 1000)
        sender.push(Batch(bytes(cramjam.snappy.compress_raw(b"")), 1, 0))
        await sender.flush(10)

    assert "--web.enable-remote-write-receiver" in sender.progress.error
    assert sender.progress.lost.total() == 1

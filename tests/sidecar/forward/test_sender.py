"""Sending to receivers that accept, refuse, fail and recover; one is a real Prometheus."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import cramjam
import pytest

from sidecar.control.sending import Loss
from sidecar.forward import receiver as module
from sidecar.forward.addresses import Reach
from sidecar.forward.queue import Batch
from sidecar.forward.receiver import Receiver
from sidecar.forward.sender import Sender
from sidecar.model.policy.forward import ReceiverAddress
from sidecar.model.remote_write.wire import SeriesBlock, write_labels
from tests.sidecar.apps import Answer, App, http, until
from tests.sidecar.forward.names import RESOLVER
from tests.sidecar.model.remote_write.test_wire import read_series

pytestmark = pytest.mark.anyio

_LOCAL = Reach(is_service=True, allowed=(ipaddress.ip_network("127.0.0.0/8"),))
_TAKEN = http(b"", "", "204 No Content")


def _batch(number: int) -> Batch:
    return Batch(b"batch %d" % number, 10, number)


def receiver_at(port: int, reach: Reach = _LOCAL) -> Receiver:
    headers = (("X-Tenant", "shop"),)
    address = ReceiverAddress("127.0.0.1", port, "/api/v1/write", headers=headers)
    return Receiver(address, {}, reach, resolve=RESOLVER.resolve)


class _Site:
    """A receiver with scripted answers, and a sender to it."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.app = App(self._answer)

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        self.bodies.append(await self.app.read_body(writer))
        answer = self.answers.pop(0) if self.answers else _TAKEN
        if callable(answer):
            await answer(writer)
        else:
            writer.write(answer)

    @asynccontextmanager
    async def sending(self, *batches: int) -> AsyncIterator[Sender]:
        async with self.app:
            made = Sender(receiver_at(self.app.port), 100_000)
            for number in batches:
                made.push(_batch(number))
            task = asyncio.create_task(made.run())
            try:
                yield made
            finally:
                task.cancel()
                made.close()


async def test_a_batch_that_cannot_be_sent_is_lost_and_holds_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusal = http(b'out of series {a="b"}', "text/plain", "400 Bad Request")
    site = _Site(refusal)  # the first batch is not a valid request, so it cannot be split
    async with site.sending(1, 2) as sender:
        await asyncio.wait_for(sender.drained(), 20)

    assert site.bodies == [b"batch 1", b"batch 2"]
    assert (sender.progress.sent, sender.progress.lost) == (10, {Loss.REFUSED: 10})
    assert "a batch cannot be sent" in caplog.text


async def test_batches_are_sent_in_order_over_one_connection() -> None:
    site = _Site()
    async with site.sending(1, 2, 3) as sender:
        await sender.drained()

    assert site.bodies == [b"batch 1", b"batch 2", b"batch 3"]
    assert site.app.connections == 1
    assert (sender.progress.sent, sender.progress.lost.total(), sender.progress.error) == (
        30,
        0,
        "",
    )
    assert sender.progress.last_sent_at == pytest.approx(time.time(), abs=30)
    head = site.app.requests[0]
    for line in (
        "POST /api/v1/write HTTP/1.1", "Content-Encoding: snappy", "X-Tenant: shop",
        "Content-Type: application/x-protobuf", "X-Prometheus-Remote-Write-Version: 0.1.0",
    ):  # fmt: skip
        assert line in head


async def _break(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    "answer",
    [
        http(b"busy", status="500 Internal Server Error"),
        http(b"", status="503 Service Unavailable"),
        http(b"slow down", status="429 Too Many Requests"),
        b"no HTTP\r\n\r\n",
        _break,
    ],
)
async def test_what_may_help_is_tried_again_and_nothing_overtakes(answer: Answer) -> None:
    site = _Site(answer, answer)
    async with site.sending(1, 2) as sender:
        await sender.drained()

    assert site.bodies[-3:] == [b"batch 1", b"batch 1", b"batch 2"] or site.bodies == [
        b"batch 1", b"batch 1", b"batch 1", b"batch 2",
    ]  # fmt: skip
    assert (sender.progress.sent, sender.progress.lost.total()) == (20, 0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http(b"no\nmore", status="400 Bad Request"), "answered 400: no"),
        (http(b"404 page not found", status="404 Not Found"), "needs --web.enable-remote-write"),
        (http(b"", status="307 Temporary Redirect"), "redirects are not followed"),
        (http(b"<html>" * 5000, "text/html", "403 Forbidden"), "answered 403: <html>"),
    ],
)
async def test_what_is_refused_for_good_is_counted_and_the_next_is_sent(
    answer: Answer, error: str
) -> None:
    said: list[str] = []
    site = _Site(answer)
    async with site.sending(1) as sender:
        await sender.drained()
        said.append(sender.progress.error)
        sender.push(_batch(2))
        await sender.drained()

    assert error in said[0]
    assert len(said[0]) < 400
    assert site.bodies == [b"batch 1", b"batch 2"]
    assert (sender.progress.sent, sender.progress.lost.total(), sender.progress.error) == (
        10,
        10,
        "",
    )


async def test_a_receiver_that_asks_for_time_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr("sidecar.forward.sender.asyncio.sleep", sleep)
    busy = "429 Too Many Requests"
    site = _Site(
        http(b"", status=busy, headers={"Retry-After": "7"}),
        http(b"", status=busy, headers={"Retry-After": "999999999999"}),
        http(b"", status=busy, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}),
        http(b"", status=busy, headers={"Retry-After": "soon"}),
    )
    async with site.sending(1) as sender:
        await sender.drained()

    first, second, third, fourth = waits
    assert 6.9 <= first < 8
    assert 299.9 <= second < 301
    assert third < 1
    assert fourth < 1


async def test_a_receiver_that_never_answers_is_given_up_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.1)
    site = _Site(hang)
    async with site.sending(1) as sender:
        await until(lambda: bool(sender.progress.error))
        error = sender.progress.error
        await sender.drained()

    assert error == "no response within 0.1 s"


async def test_an_address_that_may_not_be_reached_is_said_and_never_connected_to() -> None:
    async with App(_TAKEN) as app:
        sender = Sender(receiver_at(app.port, Reach(is_service=True)), 1000)
        sender.push(_batch(1))
        await sender.flush(0.3)

    assert "127.0.0.1 is not allowed as a receiver's address" in sender.progress.error
    assert app.connections == 0
    assert sender.progress.lost == {Loss.ENDED: 10}


async def test_what_waits_is_sent_before_the_end() -> None:
    site = _Site()
    async with site.app:
        sender = Sender(receiver_at(site.app.port), 1000)
        for number in range(3):
            sender.push(_batch(number))
        await sender.flush(5)

    assert len(site.bodies) == 3


def _series(*names: str) -> Batch:
    block = SeriesBlock([write_labels({"__name__": name, "job": "a"}) for name in names])
    body = block.write([1.0] * len(names), 1_795_000_000_000)
    return Batch(bytes(cramjam.snappy.compress_raw(body)), len(names), 1)


def _names(body: bytes) -> list[str]:
    request = bytes(cramjam.snappy.decompress_raw(body))
    return [labels["__name__"] for labels, _, _ in read_series(request)]


@pytest.mark.parametrize(
    "named", ['{__name__="b", job="a"}', 'b{job="a"}', '{"__name__"="b","job"="a"}']
)
async def test_the_good_rest_of_a_batch_is_sent_without_the_series_that_is_named(
    named: str,
) -> None:
    said = f"per-series limit exceeded: series: {named} (err-17)".encode()
    site = _Site(http(said, status="400 Bad Request"))
    async with site.sending() as sender:
        sender.push(_series("a", "b", "c"))
        await sender.drained()

    assert [_names(body) for body in site.bodies] == [["a", "b", "c"], ["a", "c"]]
    assert (sender.progress.sent, sender.progress.lost) == (2, {Loss.REFUSED: 1})


async def test_a_series_that_is_named_and_not_of_the_batch_loses_it() -> None:
    site = _Site(http(b'series {__name__="z"}', status="400 Bad Request"))
    async with site.sending() as sender:
        sender.push(_series("a", "b"))
        await sender.drained()

    assert (len(site.bodies), sender.progress.lost) == (1, {Loss.REFUSED: 2})


@pytest.mark.parametrize(
    "text", ["out of order sample", "duplicate sample for timestamp", "sample too old"]
)
async def test_of_a_batch_only_the_series_is_lost_that_is_out_of_order(text: str) -> None:
    class Strict(_Site):
        """Rejects every request with series `c` as a whole, as Prometheus 2 does."""

        async def _answer(self, writer: asyncio.StreamWriter) -> None:
            self.bodies.append(await self.app.read_body(writer))
            is_bad = "c" in _names(self.bodies[-1])
            writer.write(http(text.encode(), status="400 Bad Request") if is_bad else _TAKEN)

    site = Strict()
    async with site.sending() as sender:
        sender.push(_series("a", "b", "c", "d", "e"))
        await sender.drained()

    assert (sender.progress.sent, sender.progress.lost) == (4, {Loss.OUT_OF_ORDER: 1})
    taken = [name for body in site.bodies if "c" not in _names(body) for name in _names(body)]
    assert sorted(taken) == ["a", "b", "d", "e"]


async def test_looking_for_what_is_refused_has_an_end() -> None:
    site = _Site(*[http(b"out of order", status="400 Bad Request")] * 1000)
    async with site.sending() as sender:
        sender.push(_series(*(f"s{number}" for number in range(300))))
        await sender.drained()

    assert len(site.bodies) < 60
    assert sender.progress.lost == {Loss.OUT_OF_ORDER: 300}


async def test_what_waits_goes_on_under_other_settings_and_what_was_counted_stays() -> None:
    site = _Site()
    async with site.app:
        first = Sender(receiver_at(1), 1000)
        first.push(_batch(1))
        first.push(_batch(2))
        first.progress.sent = 7
        second = Sender(receiver_at(site.app.port), 1000)
        second.inherit(first)
        second.push(_batch(3))
        await second.flush(5)

    assert site.bodies == [b"batch 1", b"batch 2", b"batch 3"]
    assert (second.progress.sent, first.samples) == (37, 0)


async def test_a_batch_that_is_too_large_is_sent_in_halves() -> None:
    too_large = http(b"", status="413 Payload Too Large")
    site = _Site(too_large, too_large)
    async with site.sending() as sender:
        sender.push(_series("a", "b", "c"))
        await sender.drained()

    parts = [["a", "b", "c"], ["a", "b"], ["a"], ["b"], ["c"]]
    assert [_names(body) for body in site.bodies] == parts
    assert (sender.progress.sent, sender.progress.lost.total()) == (3, 0)


async def test_a_single_series_that_is_too_large_is_lost() -> None:
    site = _Site(http(b"", status="413 Payload Too Large"))
    async with site.sending() as sender:
        sender.push(_series("a"))
        await sender.drained()

    assert sender.progress.lost == {Loss.REFUSED: 1}


async def test_many_lanes_are_sent_at_once_where_many_batches_wait() -> None:
    under_way: list[int] = []
    most: list[int] = []

    async def slow(writer: asyncio.StreamWriter) -> None:
        under_way.append(1)
        most.append(len(under_way))
        await asyncio.sleep(0.05)
        under_way.pop()
        writer.write(_TAKEN)

    site = _Site(*[slow] * 24)
    async with site.app:
        sender = Sender(receiver_at(site.app.port), 100_000)
        for number in range(24):
            sender.push(_batch(number)._replace(lane=number % 8))
        await sender.flush(10)

    assert max(most) == 4
    assert sender.progress.sent == 240


class _Small(_Site):
    """Accepts at most four series per request."""

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        self.bodies.append(await self.app.read_body(writer))
        is_large = len(_names(self.bodies[-1])) > 4
        writer.write(http(b"", status="413 Content Too Large") if is_large else _TAKEN)


async def test_what_is_too_large_is_cut_and_the_next_one_before_it_is_sent() -> None:
    names = [f"s{number:02}" for number in range(64)]
    site = _Small()
    async with site.sending() as sender:
        sender.push(_series(*names))
        await sender.drained()
        first = len(site.bodies)
        sender.push(_series(*names))
        await sender.drained()

    sizes = [len(_names(body)) for body in site.bodies]
    assert sizes[:first] == [64, 32, 16, 8, *[4] * 16]
    assert sizes[first:] == [4] * 16
    assert (sender.progress.sent, sender.progress.lost) == (128, {})


async def test_cutting_has_an_end() -> None:
    site = _Site(*[http(b"", status="413 Content Too Large")] * 1000)
    async with site.sending() as sender:
        sender.push(_series(*(f"s{number}" for number in range(1000))))
        await sender.drained()

    assert len(site.bodies) < 200
    assert sender.progress.lost == {Loss.REFUSED: 1000}


async def test_a_request_that_is_larger_than_all_that_may_wait_is_said() -> None:
    sender = Sender(receiver_at(1), 2000)
    sender.push(_batch(1)._replace(body=b"x" * 5000))

    assert sender.progress.lost == {Loss.QUEUE_FULL: 10}
    assert "a request of 4 KiB is larger than the queue, which has 1 KiB" in sender.progress.error

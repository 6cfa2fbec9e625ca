"""Pushing to a Pushgateway: a real one, and ones that are unavailable or refuse."""

import asyncio
import ipaddress
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest

from sidecar.control.sending import Loss
from sidecar.forward import pusher as module
from sidecar.forward.addresses import Reach
from sidecar.forward.pusher import Pusher
from sidecar.forward.receiver import Receiver
from sidecar.model.policy.forward import ReceiverAddress, ReceiverKind
from sidecar.model.remote_write.push import Group
from tests.real_parts.presence import have
from tests.real_parts.pushgateway import pushgateway_program, running_pushgateway
from tests.sidecar.apps import App, http
from tests.sidecar.forward.names import RESOLVER

pytestmark = pytest.mark.anyio

_LOCAL = Reach(is_service=True, allowed=(ipaddress.ip_network("127.0.0.0/8"),))
_WEB, _SLASH = Group("web", "10.0.0.1:80"), Group("a/b", "10.0.0.2:80")


def _pusher(port: int, *, deletes: bool = False, limit_bytes: int = 10_000) -> Pusher:
    address = ReceiverAddress("127.0.0.1", port, "", ReceiverKind.PUSH)
    return Pusher(
        Receiver(address, {}, _LOCAL, resolve=RESOLVER.resolve), limit_bytes, deletes=deletes
    )


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    have(pushgateway_program)
    with running_pushgateway(tmp_path_factory.mktemp("pushgateway")) as found:
        yield found


async def _lines(port: int) -> list[str]:
    def read() -> str:
        url = f"http://127.0.0.1:{port}/metrics"
        with closing(urllib.request.urlopen(url)) as answer:
            return str(answer.read().decode())

    text = await asyncio.to_thread(read)
    return [
        line for line in text.splitlines() if line.startswith(("queue", "# TYPE queue", "took"))
    ]


async def test_groups_are_replaced_and_what_is_gone_goes(port: int) -> None:
    pusher = _pusher(port)
    running = asyncio.create_task(pusher.run())
    web = (b'# TYPE queue gauge\nqueue{a="1"} 5\nqueue{a="2"} 6\n', 2)
    pusher.push({_WEB: web, _SLASH: (b"# TYPE queue gauge\nqueue 7\n", 1)}, 1)
    await pusher.drained()
    assert sorted(await _lines(port)) == [
        "# TYPE queue gauge",
        'queue{a="1",instance="10.0.0.1:80",job="web"} 5',
        'queue{a="2",instance="10.0.0.1:80",job="web"} 6',
        'queue{instance="10.0.0.2:80",job="a/b"} 7',
    ]

    pusher.push({_WEB: (b'# TYPE queue gauge\nqueue{a="1"} 8\n', 1)}, 2)
    await pusher.drained()
    assert sorted(await _lines(port)) == [
        "# TYPE queue gauge", 'queue{a="1",instance="10.0.0.1:80",job="web"} 8',
    ]  # fmt: skip
    assert (pusher.progress.sent, pusher.progress.error) == (4, "")
    running.cancel()
    pusher.close()


@pytest.mark.parametrize("deletes", [False, True])
async def test_groups_are_deleted_at_the_end_where_that_is_wanted(port: int, deletes: bool) -> None:
    pusher = _pusher(port, deletes=deletes)
    pusher.push({Group("end", ""): (b"took 1\n", 1)}, 1)
    await pusher.flush(5)

    assert bool([line for line in await _lines(port) if line.startswith("took")]) is not deletes


async def test_newer_values_take_the_place_of_those_that_wait_and_that_is_counted() -> None:
    pusher = _pusher(1)
    pusher.push({_WEB: (b"a 1\n", 1)}, 1)
    pusher.push({_WEB: (b"a 2\n", 1)}, 2)

    assert (pusher.samples, pusher.oldest_ms) == (1, 2)
    assert pusher.progress.lost == {Loss.SUPERSEDED: 1}
    pusher.close()
    assert pusher.progress.lost == {Loss.SUPERSEDED: 1, Loss.ENDED: 1}


async def test_values_of_a_group_that_goes_are_counted_too() -> None:
    pusher = _pusher(1)
    pusher._known = {_WEB}
    pusher.push({_WEB: (b"a 1\n", 3)}, 1)
    pusher.push({}, 2)

    assert pusher.progress.lost == {Loss.SUPERSEDED: 3}
    assert pusher.samples == 0


async def test_a_group_that_never_got_there_and_is_gone_does_not_wait() -> None:
    pusher = _pusher(1)
    for number in range(50):
        pusher.push({Group(f"job-{number}", ""): (b"a 1\n", 1)}, number)

    assert len(pusher._waiting) == 1
    assert pusher.progress.lost == {Loss.SUPERSEDED: 49}


async def test_what_is_held_for_groups_counts() -> None:
    pusher = _pusher(1, limit_bytes=10_000)
    pusher.push({Group(f"job-{number}", "x" * 500): (b"", 1) for number in range(1000)}, 1)

    assert len(pusher._waiting) < 10


async def test_what_waits_is_bounded() -> None:
    pusher = _pusher(1, limit_bytes=10)
    pusher.push({_WEB: (b"a 1\n" * 2, 2), _SLASH: (b"a 1\n", 1)}, 1)

    assert pusher.samples == 1
    assert pusher.progress.lost == {Loss.QUEUE_FULL: 2}
    pusher.close()


async def test_a_pushgateway_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.01)
    answers = [
        http(b"busy", status="500 Internal Server Error"),
        http(b"pushed metrics are invalid", status="400 Bad Request"),
    ]

    async def answer(writer: asyncio.StreamWriter) -> None:
        await app.read_body(writer)
        writer.write(answers.pop(0))

    app = App(answer)
    async with app:
        pusher = _pusher(app.port)
        running = asyncio.create_task(pusher.run())
        pusher.push({_WEB: (b"a 1\n", 1)}, 1)
        await pusher.drained()
        running.cancel()
        pusher.close()

    assert "answered 400: pushed metrics are invalid" in pusher.progress.error
    assert pusher.progress.lost == {Loss.REFUSED: 1}
    assert [head.split(" ")[:2] for head in app.requests] == [
        ["PUT", "/metrics/job/web/instance/10.0.0.1:80"]
    ] * 2


async def test_a_group_whose_end_is_refused_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        is_end = app.requests[-1].startswith("DELETE")
        if not is_end:
            await app.read_body(writer)
        writer.write(http(b"no", status="405 Method Not Allowed") if is_end else http(b""))

    app = App(answer)
    async with app:
        pusher = _pusher(app.port)
        running = asyncio.create_task(pusher.run())
        for number in range(3):
            pusher.push({Group(f"job-{number}", ""): (b"a 1\n", 1)}, number)
            await pusher.drained()
        running.cancel()
        pusher.close()

    assert [head.split()[0] for head in app.requests] == ["PUT", "DELETE", "PUT", "DELETE", "PUT"]


async def test_values_that_are_taken_while_newer_ones_come_were_not_superseded() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await app.read_body(writer)
        if len(app.requests) == 1:
            pusher.push({_WEB: (b"a 2\n", 1)}, 2)
        writer.write(http(b""))

    app = App(answer)
    async with app:
        pusher = _pusher(app.port)
        running = asyncio.create_task(pusher.run())
        pusher.push({_WEB: (b"a 1\n", 1)}, 1)
        await pusher.drained()
        running.cancel()
        pusher.close()

    assert (pusher.progress.sent, pusher.progress.lost) == (2, {})

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from sidecar.errors import SettingsError
from sidecar.http.messages import Request, Response, plain
from sidecar.http.server import Server
from sidecar.process import ports as ports_module
from sidecar.process.ports import LISTEN_ADDRESS, Listener, Ports, read_host, serve
from tests.sidecar.apps import connected, get, until

pytestmark = pytest.mark.anyio


async def _hello(_: Request) -> Response:
    return plain(200, "hello")


@contextlib.asynccontextmanager
async def _serving(
    ports: Ports, *listeners: Listener, stop: asyncio.Event | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Serve until the end of the block, then shut down in order."""
    stop = stop or asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(serve(ports, listeners, [], stop))
        yield task
        stop.set()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "PORT_RETRY_SECONDS", 0.01)


async def test_each_server_listens_on_a_port_of_its_own_purpose() -> None:
    ports = Ports()
    listeners = [Listener(Server(_hello), 0, purpose) for purpose in ("metrics", "admin")]
    async with _serving(ports, *listeners):
        await until(lambda: len(ports.bound) == 2)

        assert ports.bound["metrics"] != ports.bound["admin"]
        assert (await get(ports.bound["admin"])).text == "hello\n"
    assert ports.faults == {}


async def test_a_host_limits_who_can_connect() -> None:
    ports, server = Ports(), Server(_hello)
    ports.host = read_host({LISTEN_ADDRESS: "127.0.0.2"})
    async with _serving(ports, Listener(server, 0, "metrics")):
        await until(lambda: bool(ports.bound))
        port = ports.bound["metrics"]

        socket.create_connection(("127.0.0.2", port), 1).close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), 1)


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1:80", "::x", "1.2.3"])
async def test_only_an_address_is_a_host(text: str) -> None:
    with pytest.raises(SettingsError, match=r"LIVERY_LISTEN_ADDRESS is .*such as 127"):
        read_host({LISTEN_ADDRESS: text})
    assert read_host({}) == ""
    assert read_host({LISTEN_ADDRESS: " ::1 "}) == "::1"


async def test_a_busy_port_is_a_fault_until_it_is_free() -> None:
    ports = Ports()
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        async with _serving(ports, Listener(Server(_hello), port, "metrics")):
            await until(lambda: "metrics" in ports.faults)
            assert ports.faults["metrics"].startswith(f"cannot listen on port {port}: ")
            assert ports.bound == {}
            taken.close()

            await until(lambda: ports.bound == {"metrics": port})
            assert ports.faults == {}


async def test_a_busy_port_holds_up_neither_other_ports_nor_the_end() -> None:
    ports = Ports()
    with socket.create_server(("", 0)) as taken:
        busy = Listener(Server(_hello), taken.getsockname()[1], "metrics")
        async with _serving(ports, busy, Listener(Server(_hello), 0, "admin")):
            await until(lambda: "metrics" in ports.faults and "admin" in ports.bound)
            assert (await get(ports.bound["admin"])).status == 200
    assert list(ports.bound) == ["admin"]


async def test_a_request_in_flight_is_answered_before_the_end() -> None:
    ports, asked, answer, stop = Ports(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        asked.set()
        await answer.wait()
        return plain(200, "at last")

    listener = Listener(Server(slow), 0, "metrics", drain_seconds=5)
    async with _serving(ports, listener, stop=stop) as task:
        await until(lambda: "metrics" in ports.bound)
        async with connected(ports.bound["metrics"]) as client:
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await asked.wait()
            stop.set()
            await until(lambda: listener.server.is_draining)
            assert not task.done()
            answer.set()
            assert (await client.reply()).text == "at last\n"


async def test_a_request_that_takes_longer_than_the_drain_is_dropped() -> None:
    ports, asked = Ports(), asyncio.Event()

    async def stuck(_: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        return plain(200, "never")

    async with _serving(ports, Listener(Server(stuck), 0, "metrics", drain_seconds=0.01)):
        await until(lambda: "metrics" in ports.bound)
        async with connected(ports.bound["metrics"]) as client:
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await asked.wait()
    with pytest.raises(ConnectionRefusedError):
        await get(ports.bound["metrics"])


async def test_tasks_run_while_the_proxy_serves_and_a_failure_ends_nothing() -> None:
    stop, states = asyncio.Event(), list[str]()

    async def fail() -> None:
        states.append("failed")
        raise ZeroDivisionError

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            states.append("ended")

    async with asyncio.timeout(10):
        task = asyncio.create_task(serve(Ports(), [], [run, fail], stop))
        await until(lambda: states == ["failed"])
        stop.set()
        await task
    assert states == ["failed", "ended"]


async def test_a_busy_port_that_can_be_chosen_is_an_error() -> None:
    with socket.create_server(("", 0)) as taken:
        listener = Listener(Server(_hello), taken.getsockname()[1], "queries", flag="--port")
        with pytest.raises(SettingsError, match="is in use: choose another with --port"):
            await serve(Ports(), [listener], [], asyncio.Event())


async def test_requests_are_answered_a_little_longer_than_they_should_come() -> None:
    ports, stop = Ports(), asyncio.Event()
    listener = Listener(Server(_hello), 0, "queries", flag="--port")
    serving = asyncio.create_task(serve(ports, [listener], [], stop, linger_seconds=0.5))
    await until(lambda: bool(ports.bound))
    stop.set()
    await until(lambda: ports.is_stopping)

    assert (await get(ports.bound["queries"])).status == 200
    await serving

import asyncio
import contextlib
import socket

import pytest

from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.questions import Question
from sidecar.gateway.refusals import Refusal
from tests.real_parts.ports import free_port
from tests.sidecar.apps import App, http, until

pytestmark = pytest.mark.anyio
_QUESTION = Question("GET", "/api/v1/labels", "")
_AWAY = http(b"", status="503 Service Unavailable")


def _group(*ports: int, timeout_seconds: float = 5) -> BackendGroup:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    group = BackendGroup(BackendSettings(), timeout_seconds)
    assert group.use(urls) == []
    return group


async def _status(group: BackendGroup) -> tuple[str, int]:
    asked = await group.ask(_QUESTION, takes_gzip=False)
    await asked.connection.read_available()
    asked.backend.release(asked.connection)
    return asked.backend.url, asked.connection.status


async def test_replicas_are_asked_in_turns() -> None:
    async with App(http(b"a")) as one, App(http(b"b")) as other:
        group = _group(one.port, other.port)
        found = [(await _status(group))[0] for _ in range(4)]
        group.close()

    assert found[:2] == found[2:]
    assert len(set(found)) == 2


@pytest.mark.parametrize("is_dead", [True, False])
async def test_one_that_does_not_answer_is_passed_over(is_dead: bool) -> None:
    async with App(http(b"a")) as good, App(_AWAY) as away:
        group = _group(good.port, free_port() if is_dead else away.port)
        found = [await _status(group) for _ in range(4)]
        group.close()

    assert {status for _, status in found} == {200}


async def test_what_the_only_one_says_is_passed_on() -> None:
    async with App(_AWAY) as away:
        group = _group(away.port)
        assert (await _status(group))[1] == 503
        group.close()


async def test_where_none_answers_it_is_said_why() -> None:
    with pytest.raises(Refusal, match=r"no Prometheus answers: .*refused") as caught:
        await _group(free_port()).ask(_QUESTION, takes_gzip=False)
    assert caught.value.status == 503
    with pytest.raises(Refusal, match="no Prometheus answers: none is known"):
        await _group().ask(_QUESTION, takes_gzip=False)


async def test_a_query_that_takes_too_long_is_asked_of_no_other() -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with App(hang) as one, App(hang) as other:
        group = _group(one.port, other.port, timeout_seconds=0.1)
        with pytest.raises(Refusal, match=r"no response within 0\.1 s; query less data") as caught:
            await group.ask(_QUESTION, takes_gzip=False)

    assert caught.value.status == 504
    assert len(one.requests) + len(other.requests) == 1


async def test_all_are_checked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.gateway.backends.group.CHECK_SECONDS", 0.01)
    async with App(_AWAY) as app:
        group = _group(app.port)
        watching = asyncio.create_task(group.watch())
        while not group.backends[0].error:
            await asyncio.sleep(0.01)
        app.answer = http(b"")
        while group.backends[0].error:
            await asyncio.sleep(0.01)
        watching.cancel()


async def test_a_group_may_change_while_it_is_asked() -> None:
    async with App(http(b"a")) as old, App(http(b"b")) as new:
        group = _group(old.port)
        asked = await group.ask(_QUESTION, takes_gzip=False)
        kept = group.backends[0]
        urls = [f"http://127.0.0.1:{port}" for port in (new.port, old.port)]
        assert group.use(urls) == []
        assert group.backends[1] is kept
        problems = group.use([urls[0], "no URL", urls[0]])
        assert await asked.connection.read() == b"a"
        asked.backend.release(asked.connection)
        assert await _status(group) == (urls[0], 200)
        group.close()

    assert len(problems) == 1
    assert "'no URL' is not http://host:port" in problems[0]


async def test_who_is_up_is_told_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.gateway.backends.group.CHECK_SECONDS", 0.01)
    changes: list[list[bool]] = []
    async with App(http(b"ok")) as app:
        group = BackendGroup(
            BackendSettings(), 5, lambda: changes.append([one.is_up for one in group.backends])
        )
        group.use([f"http://127.0.0.1:{app.port}"])
        watching = asyncio.create_task(group.watch())
        await until(lambda: changes == [[True]])
    await until(lambda: len(changes) > 1)
    watching.cancel()
    group.close()

    assert changes == [[True], [False]]


async def test_a_query_that_ends_a_prometheus_is_asked_of_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.gateway.backends.group.RESEND_SECONDS", 0.05)

    async def die(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.close()

    async with App(die) as one, App(die) as other:
        group = _group(one.port, other.port)
        with pytest.raises(Refusal, match="the backend failed") as caught:
            await group.ask(_QUESTION, takes_gzip=False)

    assert caught.value.status == 502
    assert len(one.requests) + len(other.requests) == 1


async def test_what_a_prometheus_says_of_the_query_itself_is_no_reason_to_ask_another() -> None:
    said = b'{"status": "error", "errorType": "timeout", "error": "query timed out"}'
    late = http(said, "application/json", status="503 Service Unavailable")
    async with App(late) as one, App(late) as other:
        group = _group(one.port, other.port)
        assert (await _status(group))[1] == 503
        assert all(backend.is_up for backend in group.backends)
        group.close()

    assert len(one.requests) + len(other.requests) == 1


async def test_one_to_which_no_connection_comes_about_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.gateway.backends.backend.CONNECT_TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(address)
        async with App(http(b"a")) as good:
            group = _group(address[1], good.port)
            found = [await _status(group) for _ in range(2)]
            group.close()
        for one in waiting:
            one.close()

    assert {status for _, status in found} == {200}

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sidecar.errors import PodsError
from sidecar.pods import watch
from sidecar.pods.api import Json
from sidecar.pods.watch import Watch
from tests.sidecar.apps import App, http, until
from tests.sidecar.pods.servers import WATCH, client_of, event, listed, refused

pytestmark = pytest.mark.anyio


def _object(uid: str, version: str = "1", **more: Any) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": version, **more}}


def _parse(obj: Json) -> str:
    name = obj["metadata"].get("name", "")
    if name == "bad":
        raise PodsError("it cannot be read")
    return str(name)


class _Server:
    """An API server that lists its objects and streams scripted watches."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.app = App(self._answer)
        self.objects = list(objects)
        self.pages: list[bytes] = []
        """Responses to list requests, in order, before the usual one."""
        self.watches: list[bytes] = []
        """Responses to watch requests, likewise."""
        self.streams: list[asyncio.StreamWriter] = []

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if "watch=1" not in self.app.requests[-1]:
            writer.write(self.pages.pop(0) if self.pages else listed(*self.objects))
            return
        if self.watches:
            writer.write(self.watches.pop(0))
            writer.close()
            return
        self.streams.append(writer)
        writer.write(WATCH)
        await asyncio.sleep(60)

    def asked(self, pattern: str) -> list[str]:
        heads = [head.split("\r\n")[0] for head in self.app.requests]
        return [head for head in heads if re.search(pattern, head)]


@contextlib.asynccontextmanager
async def _following(
    server: _Server, on_change: Callable[[], None] = lambda: None
) -> AsyncIterator[Watch[str]]:
    async with server.app:
        followed = Watch(
            client_of(server.app),
            "/api/v1/pods",
            selection={"labelSelector": "app=web", "fieldSelector": ""},
            parse=_parse,
            on_change=on_change,
        )
        task = asyncio.create_task(followed.run())
        try:
            yield followed
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _tries_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(watch, "LAST_BACKOFF_SECONDS", 0.05)


async def test_a_list_in_pages_is_taken_whole() -> None:
    server = _Server()
    server.pages = [listed(_object("1"), following="next"), listed(_object("2"), version="7")]
    async with _following(server) as followed:
        await until(lambda: followed.is_listed and bool(server.streams))

        assert set(followed.objects) == {"1", "2"}
    assert "continue=next" in server.asked("limit")[1]
    assert "resourceVersion=7" in server.asked("watch")[0]
    assert all("labelSelector=app%3Dweb" in head for head in server.asked("GET"))
    assert not server.asked("fieldSelector")


async def test_events_change_what_is_known() -> None:
    server = _Server(_object("1", name="a"))
    changes: list[None] = []
    async with _following(server, lambda: changes.append(None)) as followed:
        await until(lambda: bool(server.streams))
        for line in (
            event("ADDED", _object("2", "2", name="b")),
            event("MODIFIED", _object("1", "3", name="c")),
            event("DELETED", _object("2", "4")),
        ):
            before = len(changes)
            server.streams[0].write(line)
            await until(lambda before=before: len(changes) > before)  # type: ignore[misc]

        assert followed.objects == {"1": "c"}


async def test_a_bookmark_moves_the_watch_on_and_changes_nothing() -> None:
    server = _Server(_object("1"))
    server.watches = [WATCH + event("BOOKMARK", _object("", "99"))]
    async with _following(server):
        await until(lambda: len(server.asked("watch")) > 1)

    assert "resourceVersion=99" in server.asked("watch")[1]
    assert len(server.asked("limit")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        refused("410 Gone", "too old"),
        WATCH + event("ERROR", {"code": 410, "message": "too old"}),
    ],
)
async def test_a_watch_that_is_too_old_begins_with_a_new_list(answer: bytes) -> None:
    server = _Server(_object("1"))
    server.watches = [answer]
    async with _following(server) as followed:
        await until(lambda: len(server.asked("limit")) > 1 and bool(server.streams))

        assert (followed.failures, followed.error) == (0, "")
        assert set(followed.objects) == {"1"}


async def test_while_the_server_is_away_the_last_state_stays_and_its_age_is_known() -> None:
    server = _Server(_object("1"))
    async with _following(server) as followed:
        await until(lambda: bool(server.streams))
        server.watches = [refused("500 Internal Server Error", "etcd is away")] * 3
        server.app.hang_up()
        await until(lambda: "etcd is away" in followed.error)

        assert set(followed.objects) == {"1"}
        assert followed.is_listed
        assert followed.age_seconds > 0
        await until(lambda: len(server.streams) > 1)
        server.streams[-1].write(event("BOOKMARK", _object("", "9")))
        await until(lambda: not followed.error)
        assert followed.age_seconds == 0


async def test_a_right_that_is_missing_has_its_status() -> None:
    server = _Server()
    server.pages = [refused("403 Forbidden", "pods is forbidden")] * 100
    async with _following(server) as followed:
        await until(lambda: bool(followed.error))

        assert (followed.status, followed.is_listed) == (403, False)


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_again_and_again() -> None:
    server = _Server()
    server.watches = [WATCH] * 1000
    async with _following(server):
        await asyncio.sleep(0.5)

    assert len(server.asked("watch")) < 60


async def test_an_object_that_cannot_be_read_is_left_out_and_the_others_stay() -> None:
    server = _Server(_object("1", name="bad"), _object("2", name="good"))
    async with _following(server) as followed:
        await until(lambda: bool(server.streams))

        assert followed.objects == {"2": "good"}


@pytest.mark.parametrize(
    "line",
    [b"nope\n", b"{}\n", b'{"object": 5}\n', b'{"type": "ADDED", "object": {"metadata": []}}\n'],
)
async def test_nonsense_in_a_watch_is_an_error_and_it_begins_anew(line: bytes) -> None:
    server = _Server(_object("1"))
    server.watches = [WATCH + line]
    async with _following(server) as followed:
        await until(lambda: bool(server.streams))

        assert set(followed.objects) == {"1"}


async def test_too_many_objects_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_OBJECTS", 2)
    server = _Server(*[_object(str(number)) for number in range(3)])
    async with _following(server) as followed:
        await until(lambda: "more than 2 objects match" in followed.error)

        assert not followed.is_listed


async def test_a_watch_that_opens_confirms_the_state_without_an_event() -> None:
    server = _Server(_object("1"))
    server.pages = [listed(_object("1")), refused("503 Service Unavailable", "away")]
    server.watches = [refused("500 Internal Server Error", "away")]
    async with _following(server) as followed:
        await until(lambda: bool(followed.error))
        await until(lambda: not followed.error)

        assert followed.age_seconds == 0


async def test_a_server_that_ends_each_watch_at_once_is_listed_anew() -> None:
    server = _Server(_object("1"))
    server.watches = [WATCH] * 3
    async with _following(server) as followed:
        await until(lambda: bool(server.streams))

        assert followed.failures == 3
    assert len(server.asked("limit")) == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (event("STATUS", _object("1")), "'STATUS' is not an event type"),
        (event("ADDED", {"metadata": {"uid": None}}), "metadata.uid: it is missing"),
        (event("ADDED", {"metadata": None}), "metadata.uid: it is missing"),
    ],
)
async def test_an_event_that_says_nothing_is_an_error(line: bytes, reason: str) -> None:
    server = _Server(_object("1"))
    errors: list[str] = []
    async with _following(server, lambda: errors.append(followed.error)) as followed:
        await until(lambda: bool(server.streams))
        server.streams[0].write(b"\n" + line)
        await until(lambda: any(reason in error for error in errors))


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"items": 5, "metadata": {"resourceVersion": "1"}}, "items: a list is needed"),
        ({"items": None, "metadata": None}, "a list without a resourceVersion"),
    ],
)
async def test_what_is_no_list_is_an_error(page: dict[str, Any], reason: str) -> None:
    server = _Server(_object("1"))
    server.pages = [http(json.dumps(page).encode(), "application/json")]
    errors: list[str] = []
    async with _following(server, lambda: errors.append(followed.error)) as followed:
        await until(lambda: any(reason in error for error in errors))
        await until(lambda: not followed.error)


async def test_pages_without_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_PAGES", 3)
    server = _Server()
    server.pages = [listed(following="next")] * 5
    async with _following(server) as followed:
        await until(lambda: "narrow the selector" in followed.error)

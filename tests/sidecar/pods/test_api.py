import asyncio

import pytest

from sidecar.errors import UpstreamError, UpstreamTimeoutError
from sidecar.pods import api
from sidecar.pods.access import Credentials
from sidecar.pods.api import ApiClient, ApiError
from tests.sidecar.apps import App, http
from tests.sidecar.pods.servers import WATCH, client_of, event, listed, refused

pytestmark = pytest.mark.anyio


async def _hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def test_an_object_is_asked_for_with_the_token() -> None:
    async with App(http(b'{"a": 1}', "application/json")) as app:
        client = client_of(app)
        assert await client.get("/api/v1/pods", {"limit": "5"}) == {"a": 1}
        client.close()

    assert app.requests[0].startswith("GET /api/v1/pods?limit=5 HTTP/1.1\r\n")
    assert "Authorization: Bearer secret\r\n" in app.requests[0]


async def test_a_refusal_says_what_the_server_says() -> None:
    async with App(refused("403 Forbidden", "pods is forbidden")) as app:
        with pytest.raises(ApiError, match="answered 403: pods is forbidden") as caught:
            await client_of(app).get("/api/v1/pods", {})

    assert caught.value.status == 403


@pytest.mark.parametrize("body", [b"<html>nope</html>", b"", b"[" * 100_000])
async def test_a_refusal_that_is_no_status_is_shown_shortened(body: bytes) -> None:
    async with App(http(body, status="502 Bad Gateway")) as app:
        with pytest.raises(ApiError, match="answered 502: ") as caught:
            await client_of(app).get("/", {})

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"nope", "sent invalid JSON"),
        (b"[]", "did not send a JSON object"),
        (b"[" * 100_000, "sent invalid JSON"),
    ],
)
async def test_what_is_no_object_is_refused(body: bytes, reason: str) -> None:
    async with App(http(body)) as app:
        with pytest.raises(UpstreamError, match=reason):
            await client_of(app).get("/", {})


async def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_ANSWER_BYTES", 1 << 20)
    async with App(http(b"x" * (2 << 20))) as app:
        with pytest.raises(UpstreamError, match="is over 1 MiB"):
            await client_of(app).get("/", {})


async def test_a_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "REQUEST_TIMEOUT_SECONDS", 0.1)
    async with App(_hang) as app:
        with pytest.raises(UpstreamTimeoutError, match=r"within 0\.1 s"):
            await client_of(app).get("/", {})


async def test_a_server_that_is_not_there_is_named() -> None:
    async with App(b"") as app:
        client = client_of(app)
    with pytest.raises(UpstreamError, match="cannot be reached: connection refused on port"):
        await client.get("/", {})


async def test_a_watch_yields_events_until_the_server_ends_it() -> None:
    lines = event("ADDED", {"a": 1}) + event("DELETED", {"a": 1})

    async def answer(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(lines), 7):  # in arbitrary parts
            writer.write((WATCH if at == 0 else b"") + lines[at : at + 7])
            await asyncio.sleep(0)
        writer.close()

    async with App(answer) as app:
        events = [event async for event in client_of(app).watch("/pods", {}, 5)]

    assert events[0] is None  # the watch has started
    assert [item["type"] for item in events if item] == ["ADDED", "DELETED"]


async def test_a_token_that_was_renewed_is_taken_when_the_old_one_is_refused() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        is_new = "Bearer new" in app.requests[-1]
        writer.write(listed() if is_new else refused("401 Unauthorized", "no"))

    async with App(answer) as app:
        old = client_of(app)._access._replace(credentials=Credentials(token="old"))
        client = ApiClient(old, lambda: old._replace(credentials=Credentials(token="new")))
        with pytest.raises(ApiError):
            await client.get("/pods", {})

        assert (await client.get("/pods", {}))["items"] == []
        client.close()


async def test_a_watch_in_which_nothing_comes_ends() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(WATCH)
        await asyncio.sleep(60)

    async with App(answer) as app:
        with pytest.raises(UpstreamTimeoutError, match=r"for 0\.1 s"):
            async for _ in client_of(app).watch("/pods", {}, 0.1):
                pass


async def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_EVENT_BYTES", 1000)
    async with App(WATCH + b"x" * 5000) as app:
        with pytest.raises(UpstreamError, match="a watch event is over"):
            async for _ in client_of(app).watch("/pods", {}, 5):
                pass

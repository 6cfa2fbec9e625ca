import asyncio
from pathlib import Path

import pytest

from sidecar.errors import SettingsError, UpstreamError
from sidecar.gateway.backends.backend import Backend, BackendSettings
from sidecar.gateway.questions import Question
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio


async def _ask(backend: Backend, question: Question) -> bytes:
    connection = await backend.send(question, takes_gzip=False)
    body = b"".join(await connection.read_available())
    backend.release(connection)
    return body


async def test_a_request_holds_nothing_but_what_was_written_for_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    async with App(http(b"{}", "application/json")) as app:
        backend = Backend(f"http://127.0.0.1:{app.port}/prefix/", BackendSettings(token_file=token))
        assert await _ask(backend, Question("GET", "/api/v1/labels", "a=b")) == b"{}"
        backend.close()

    lines = app.requests[0].split("\r\n")
    assert lines[0] == "GET /prefix/api/v1/labels?a=b HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        "Host", "User-Agent", "Accept-Encoding", "Authorization",
    }  # fmt: skip
    assert "Authorization: Bearer secret" in lines


async def test_a_password_of_a_file_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("b\n")
    async with App(http(b"{}", "application/json")) as app:
        backend = Backend(f"http://127.0.0.1:{app.port}", BackendSettings(basic=("a", file)))
        await _ask(backend, Question("GET", "/", ""))
        backend.close()

    assert "Authorization: Basic YTpi" in app.requests[0]


async def test_a_backend_that_is_away_is_down_until_it_answers() -> None:
    async with App(http(b"ok")) as app:
        port = app.port
        backend = Backend(f"http://127.0.0.1:{port}", BackendSettings())
        await backend.check()
        assert backend.is_up
        assert backend.seen_at
    backend.close()
    with pytest.raises(UpstreamError):
        await backend.send(Question("GET", "/", ""), takes_gzip=False)
    assert "refused" in backend.error


async def _hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(b"", status="503 Service Unavailable"), "/-/ready answered 503"),
        (_hang, "did not answer"),
    ],
)
async def test_a_backend_that_is_not_ready_is_down(
    answer: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.gateway.backends.backend.CHECK_TIMEOUT_SECONDS", 0.1)
    async with App(answer) as app:
        backend = Backend(f"http://127.0.0.1:{app.port}", BackendSettings())
        await backend.check()

        assert reason in backend.error


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090",
        "ftp://a",
        "http://",
        "http://a b",
        "http://u:p@a",
        "http://a?x",
        "http://[",
        "é",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is not http://host:port"):
        Backend(url, BackendSettings())

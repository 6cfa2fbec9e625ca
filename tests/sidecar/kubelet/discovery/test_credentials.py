"""The credentials that are sent to a server, and how tokens are fetched and cached."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from sidecar.errors import UpstreamError
from sidecar.kubelet.discovery.credentials import Credentials
from sidecar.model.pods.discovery_settings import (
    Authorization,
    BasicAuth,
    DiscoverySettings,
    OAuth2,
)
from tests.sidecar.apps import App, http

pytestmark = pytest.mark.anyio

_OAUTH2 = OAuth2(client_id="me:you", client_secret="a b/ü")
_TOKEN = {"access_token": "abc", "expires_in": 3600}


def _json(document: object, status: str = "200 OK") -> bytes:
    return http(json.dumps(document).encode(), kind="application/json", status=status)


@contextlib.asynccontextmanager
async def _client(settings: DiscoverySettings) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as token_client:
        auth = Credentials(settings, token_client)
        async with httpx.AsyncClient(auth=auth, trust_env=False) as client:
            yield client


async def _sent(settings: DiscoverySettings, times: int = 1) -> list[str]:
    """Send requests, and return the Authorization headers that the server received."""
    async with App(http(b"")) as app, _client(settings) as client:
        for _ in range(times):
            await client.get(f"http://127.0.0.1:{app.port}")
        return [_header(request) for request in app.requests]


def _header(request: str) -> str:
    lines = [line for line in request.split("\r\n") if line.lower().startswith("authorization:")]
    return lines[0].partition(": ")[2] if lines else ""


def _basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


class _TokenService(App):
    """A token service that records the forms that it receives."""

    def __init__(self, answer: Callable[[int], bytes] = lambda _: _json(_TOKEN)) -> None:
        super().__init__(self._reply)
        self.forms: list[dict[str, list[str]]] = []
        self._make = answer

    async def _reply(self, writer: asyncio.StreamWriter) -> None:
        size = next(
            line.split(": ")[1]
            for line in self.requests[-1].split("\r\n")
            if line.lower().startswith("content-length")
        )
        self.forms.append(parse_qs((await self.readers[writer].readexactly(int(size))).decode()))
        writer.write(self._make(len(self.forms)))

    def settings(self, oauth2: OAuth2 = _OAUTH2) -> DiscoverySettings:
        url = f"http://127.0.0.1:{self.port}/token"
        return DiscoverySettings(oauth2=replace(oauth2, token_url=url))


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        (DiscoverySettings(), ""),
        (DiscoverySettings(bearer_token="a"), "Bearer a"),
        (DiscoverySettings(basic_auth=BasicAuth()), _basic(":")),
        (DiscoverySettings(basic_auth=BasicAuth(username="ü", password="p:")), _basic("ü:p:")),
        (DiscoverySettings(authorization=Authorization(credentials="a")), "Bearer a"),
        (DiscoverySettings(authorization=Authorization(type="Negotiate")), "Negotiate"),
    ],
)
async def test_each_way_to_be_known_has_its_header(
    settings: DiscoverySettings, header: str
) -> None:
    assert await _sent(settings) == [header]


def _of_file(way: str, file: str) -> DiscoverySettings:
    return {
        "bearer_token_file": DiscoverySettings(bearer_token_file=file),
        "basic_auth.password_file": DiscoverySettings(basic_auth=BasicAuth(password_file=file)),
        "authorization.credentials_file": DiscoverySettings(
            authorization=Authorization(credentials_file=file)
        ),
        "oauth2.client_secret_file": DiscoverySettings(oauth2=OAuth2(client_secret_file=file)),
    }[way]


_FILES = [
    "bearer_token_file", "basic_auth.password_file", "authorization.credentials_file",
    "oauth2.client_secret_file",
]  # fmt: skip


@pytest.mark.parametrize("way", _FILES)
@pytest.mark.parametrize("content", [None, b"", b" \n", b"tell-nobody\nX: y", b"tell-nobody\xff"])
async def test_a_file_that_holds_no_secret_is_named_and_not_shown(
    tmp_path: Path, way: str, content: bytes | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UpstreamError, match=f"^{way}: .*{file}") as caught:
        await _sent(_of_file(way, str(file)))
    assert "tell-nobody" not in str(caught.value)


async def test_a_file_is_read_anew_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    settings = _of_file("basic_auth.password_file", str(file))
    async with App(http(b"")) as app, _client(settings) as client:
        for secret in ("one", "two\n"):
            file.write_text(secret)
            await client.get(f"http://127.0.0.1:{app.port}")

    assert [_header(request) for request in app.requests] == [_basic(":one"), _basic(":two")]


async def test_a_token_service_is_shown_the_secret_in_the_header_only() -> None:
    oauth2 = replace(_OAUTH2, scopes=("a", "b"), endpoint_params={"audience": "x&y"})
    async with _TokenService() as service:
        assert await _sent(service.settings(oauth2)) == ["Bearer abc"]

    assert _header(service.requests[0]) == _basic("me%3Ayou:a%20b%2F%C3%BC")
    assert service.forms == [
        {"grant_type": ["client_credentials"], "audience": ["x&y"], "scope": ["a b"]}
    ]


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized"])
async def test_a_service_that_knows_no_header_is_shown_the_secret_in_the_form(status: str) -> None:
    async with _TokenService(
        lambda count: _json({}, status) if count == 1 else _json(_TOKEN)
    ) as service:
        assert await _sent(service.settings()) == ["Bearer abc"]

    assert [_header(request) != "" for request in service.requests] == [True, False]
    assert service.forms[1]["client_id"] == ["me:you"]
    assert service.forms[1]["client_secret"] == ["a b/ü"]


@pytest.mark.parametrize(
    ("lasts", "fetched"),
    [(3600, 1), ("3600", 1), (None, 1), ("soon", 1), (-5, 1), (1e999, 1), (10, 2), ("9.5", 1),
     ("10", 2), (0.5, 2)],
)  # fmt: skip
async def test_a_token_is_kept_until_shortly_before_its_end(lasts: object, fetched: int) -> None:
    answer = _json({"access_token": "abc", "expires_in": lasts})
    async with _TokenService(lambda _: answer) as service:
        await _sent(service.settings(), times=2)

    assert len(service.forms) == fetched


async def test_requests_at_once_share_one_token() -> None:
    async with (
        _TokenService(lambda count: _json({"access_token": f"t{count}"})) as service,
        App(http(b"")) as app,
        _client(service.settings()) as client,
    ):
        await asyncio.gather(*(client.get(f"http://127.0.0.1:{app.port}") for _ in range(5)))

    assert {_header(request) for request in app.requests} == {"Bearer t1"}


async def test_a_token_that_is_refused_is_not_sent_again() -> None:
    async with (
        _TokenService(lambda count: _json({"access_token": f"t{count}"})) as service,
        App(http(b"", status="403 Forbidden")) as app,
        _client(service.settings()) as client,
    ):
        for status in ("403 Forbidden", "401 Unauthorized", "200 OK"):
            app.answer = http(b"", status=status)
            await client.get(f"http://127.0.0.1:{app.port}")

    assert [_header(request) for request in app.requests] == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_a_renewed_client_secret_is_used_for_the_next_token(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    oauth2 = OAuth2(client_id="me", client_secret_file=str(file))
    answer = _json({"access_token": "abc", "expires_in": 1})
    async with (
        _TokenService(lambda _: answer) as service,
        App(http(b"")) as app,
        _client(service.settings(oauth2)) as client,
    ):
        for secret in ("one", "two"):
            file.write_text(secret)
            await client.get(f"http://127.0.0.1:{app.port}")

    sent = [_header(request) for request in service.requests]
    assert sent == [_basic("me:one"), _basic("me:two")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_json({"error": "x" * 999}, "400 Bad"), f"the server answered 400: {'x' * 200}$"),
        (_json({"error_description": "a", "error": "b"}, "403 No"), "the server answered 403: a$"),
        (_json(_TOKEN, "201 Created"), "the server answered 201: no access_token$"),
        (_json({"access_token": 5}), "the server answered 200: no access_token$"),
        (_json([_TOKEN]), "the server answered 200: no access_token$"),
        (_json({"access_token": "a\r\nX: y"}), "the token contains characters "),
        (_json({"access_token": "ü"}), "the token contains characters "),
        (http(b"{" + b" " * (256 << 10)), "the response is too large$"),
        (http(b"", status="307 Go", headers={"Location": "/x"}), "the server answered 307"),
    ],
)
async def test_a_service_that_gives_no_token_is_an_error_without_the_secret(
    answer: bytes, reason: str
) -> None:
    async with _TokenService(lambda _: answer) as service:
        with pytest.raises(UpstreamError, match=rf"^oauth2\.token_url: {reason}") as caught:
            await _sent(service.settings())

    assert "a b/ü" not in str(caught.value)


async def test_a_service_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.kubelet.discovery.credentials.TIMEOUT_SECONDS", 0.1)

    async def hang(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    async with App(hang) as app:
        oauth2 = replace(_OAUTH2, token_url=f"http://127.0.0.1:{app.port}")
        with pytest.raises(UpstreamError, match=r"^oauth2\.token_url: no response in time$"):
            await _sent(DiscoverySettings(oauth2=oauth2))

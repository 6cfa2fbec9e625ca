"""Authentication to the kubelet: tokens, passwords, OAuth 2.0; files are read each time."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import parse_qsl, quote

import httpx

from sidecar.errors import UpstreamError
from sidecar.http.secrets import read_secret
from sidecar.model.pods.discovery_settings import DiscoverySettings, OAuth2

MAX_ANSWER_BYTES = 256 << 10
EARLY_SECONDS = 10.0
"""How long before its expiry a token is renewed."""
TIMEOUT_SECONDS = 30.0
DEFAULT_TOKEN_SECONDS = 3600.0
MAX_TOKEN_SECONDS = 86400.0


class Credentials(httpx.Auth):
    """Adds the Authorization header to requests.

    Args:
        settings: contain at most one authentication method.
        token_client: client for the OAuth 2.0 token endpoint; None without one.
    """

    def __init__(self, settings: DiscoverySettings, token_client: httpx.AsyncClient | None) -> None:
        self._settings = settings
        self._tokens: _Tokens | None = None
        if settings.oauth2 is not None and token_client is not None:
            self._tokens = _Tokens(settings.oauth2, token_client)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Authenticate a request; an OAuth 2.0 token that gets a 401 is discarded."""
        header = await self._header()
        if header:
            request.headers["Authorization"] = header
        response = yield request
        if response.status_code == 401 and self._tokens is not None:
            self._tokens.forget()

    async def _header(self) -> str:
        given = self._settings
        if given.bearer_token:
            return f"Bearer {given.bearer_token}"
        if given.bearer_token_file:
            return f"Bearer {_read('bearer_token_file', given.bearer_token_file)}"
        if given.basic_auth is not None:
            basic = given.basic_auth
            secret = basic.password
            if basic.password_file:
                secret = _read("basic_auth.password_file", basic.password_file)
            pair = f"{basic.username}:{secret}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        if given.authorization is not None:
            other = given.authorization
            secret = other.credentials
            if other.credentials_file:
                secret = _read("authorization.credentials_file", other.credentials_file)
            return f"{other.type} {secret}".rstrip()
        return f"Bearer {await self._tokens.get()}" if self._tokens is not None else ""


class _Tokens:
    """The current access token of an OAuth 2.0 client credentials grant.

    Source: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    """

    def __init__(self, settings: OAuth2, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._lock = asyncio.Lock()
        self._token = ""
        self._ends_at = 0.0

    async def get(self) -> str:
        """Return a token that does not expire soon; fetches a new one if needed."""
        async with self._lock:
            if not self._token or time.monotonic() >= self._ends_at:
                await self._fetch()
            return self._token

    def forget(self) -> None:
        """Discard the token; the next request fetches a new one."""
        self._token = ""

    async def _fetch(self) -> None:
        given = self._settings
        secret = given.client_secret
        if given.client_secret_file:
            secret = _read("oauth2.client_secret_file", given.client_secret_file)
        form = {"grant_type": "client_credentials", **given.endpoint_params}
        if given.scopes:
            form["scope"] = " ".join(given.scopes)
        # RFC 6749 requires support for the header; some services accept only form fields.
        pair = f"{quote(given.client_id, safe='')}:{quote(secret, safe='')}".encode()
        header = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        status, answer = await self._post(form, header)
        if status in (400, 401):
            named = {**form, "client_id": given.client_id, "client_secret": secret}
            status, answer = await self._post(named, {})
        token = answer.get("access_token")
        if status != 200 or not isinstance(token, str) or not token:
            reason = answer.get("error_description") or answer.get("error") or "no access_token"
            shown = f"oauth2.token_url: the server answered {status}: {str(reason)[:200]}"
            raise UpstreamError(shown)
        if not token.isascii() or not token.isprintable():
            raise UpstreamError(
                "oauth2.token_url: the token contains characters that an HTTP header may not"
            )
        seconds = _seconds(answer.get("expires_in"))
        self._token, self._ends_at = token, time.monotonic() + seconds - EARLY_SECONDS

    async def _post(
        self, form: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, dict[str, object]]:
        body = b""
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._client.stream(
                    "POST", self._settings.token_url, data=form, headers=headers
                ) as response,
            ):
                status = response.status_code
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        break
        except Exception as error:  # a boundary, as in `client`
            raise UpstreamError(f"oauth2.token_url: {_say(error)}") from error
        if len(body) > MAX_ANSWER_BYTES:
            raise UpstreamError("oauth2.token_url: the response is too large")
        try:
            answer = httpx.Response(200, content=body).json()
        except (ValueError, RecursionError):
            # Some services answer with a form instead of the JSON that RFC 6749 requires.
            answer = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=32))
        return status, answer if isinstance(answer, dict) else {}


def _seconds(lasts: object) -> float:
    """Return a token's lifetime; services send it as a number or as a string."""
    if isinstance(lasts, str) and lasts.isascii() and lasts.isdigit():
        lasts = int(lasts[:9])
    if isinstance(lasts, int | float) and lasts > 0:
        return float(min(lasts, MAX_TOKEN_SECONDS))
    return DEFAULT_TOKEN_SECONDS


def _say(error: Exception) -> str:
    return str(error) or "no response in time"


def _read(name: str, path: str) -> str:
    text = read_secret(Path(path), name)
    if not text or not text.isprintable():
        raise UpstreamError(f"{name}: {path} is empty or contains unprintable characters")
    return text

"""Requests that try to bypass a gateway, as raw bytes to a real one.

Whatever the response, the backend only gets queries for what the tenant may see. Attacks by PromQL
alone are in test_app.py, which compares real answers.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from sidecar.auth.users import hash_password
from sidecar.roles.gateway.role import GatewayRole
from sidecar.roles.gateway.settings import parse_gateway_settings
from tests.sidecar.apps import App, http, until

pytestmark = pytest.mark.anyio

_HASH = hash_password("pw")
_FORM = "Content-Type: application/x-www-form-urlencoded"
_LOGIN = "Authorization: Basic " + base64.b64encode(b"grafana:pw").decode()
_BOTH = "Authorization: Basic " + base64.b64encode(b"platform:pw").decode()
_BANK = "X-Tenant-Namespace: bank"
_LARGE = b'{"status":"success","data":["' + b"x" * 2_000_000 + b'"]}'
_OWN = 'up{namespace=~"shop"}'


class Site:
    """A gateway over TCP, and all requests to its backend."""

    def __init__(self) -> None:
        self.app = App(self._record)
        self.asked: list[str] = []
        """Heads and bodies, except those of health checks."""
        self.port = 0

    async def _record(self, writer: asyncio.StreamWriter) -> None:
        head = self.app.requests[-1]
        length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
        body = await self.app.readers[writer].readexactly(int(length or 0))
        if "/-/ready" not in head:
            self.asked.append(head + body.decode())
        said = _LARGE if "/api/v1/labels" in head else b'{"status":"success","data":[]}'
        writer.write(http(said, "application/json"))

    async def send(self, *parts: str | bytes) -> int:
        """Send a request; return the status, or 0 if the connection closes without one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in parts:
            writer.write(part.encode() if isinstance(part, str) else part)
        async with asyncio.timeout(20):
            line = await reader.readline()
        writer.close()
        return int(line.split()[1]) if line else 0

    def queries(self) -> list[str]:
        """Return the PromQL that the backend received."""
        found: list[str] = []
        for request in self.asked:
            head, _, body = request.partition("\r\n\r\n")
            form = body or urlsplit(head.split(" ")[1]).query
            values = parse_qs(form, keep_blank_values=True)
            found += values.get("query", []) + values.get("match[]", [])
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    rules = {
        name: [{"name": "a", "patterns": ["up"], "namespaces": [name]}] for name in ("shop", "bank")
    }
    users = [
        {"name": "grafana", "passwordHash": _HASH, "tenants": ["shop"]},
        {"name": "platform", "passwordHash": _HASH, "tenants": ["shop", "bank"]},
    ]
    (tmp_path / "tenants").write_text(json.dumps({"tenants": rules}))
    (tmp_path / "users").write_text(json.dumps({"users": users}))
    made = Site()
    async with made.app:
        arguments = [
            "--role=gateway", "--port=0", "--admin-port=0", f"--policy={tmp_path / 'tenants'}",
            f"--users={tmp_path / 'users'}", f"--backend=http://127.0.0.1:{made.app.port}",
        ]  # fmt: skip
        role = GatewayRole(parse_gateway_settings(arguments, {}))
        stop = asyncio.Event()
        running = asyncio.create_task(role.run(stop))
        await until(lambda: len(role.ports.bound) == 2)
        made.port = role.ports.bound["queries"]
        yield made
        stop.set()
        await running


def _get(target: str, *headers: str, login: str = _LOGIN) -> str:
    lines = [f"GET {target} HTTP/1.1", "Host: x", login, *headers]
    return "\r\n".join(lines) + "\r\n\r\n"


def _post(body: str, *headers: str, target: str = "/api/v1/query") -> str:
    length = f"Content-Length: {len(body)}"
    lines = [f"POST {target} HTTP/1.1", "Host: x", _LOGIN, length, *(headers or (_FORM,))]
    return "\r\n".join(lines) + f"\r\n\r\n{body}"


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        # Repeated parameters, or in two places, which two parsers could read differently.
        (_post("query=up", target="/api/v1/query?query=secret"), 400),
        (_post("query=up", target="/api/v1/query?namespace=bank"), 403),
        (_post("query=up&namespace=shop", target="/api/v1/query?namespace=bank"), 403),
        (_post("", target="/api/v1/query?query=up&query=secret"), 400),
        (_get("/api/v1/query?query=up&query=secret"), 400),
        (_get("/api/v1/query?query=up&%71uery=secret"), 400),
        (_get("/api/v1/query?query=up;query=secret"), 400),
        (_get("/api/v1/query?query=&query=secret"), 400),
        (_get("/api/v1/query?query=up", "Content-Length: 12") + "query=secret", 400),
        (_post("query=up", "Content-Type: multipart/form-data; boundary=x"), 400),
        (_post("query=up", "Content-Type: text/plain"), 400),
        (_post("query=up", f"{_FORM}; charset=utf-16"), 400),
        (_post('{"query": "up"}', "Content-Type: application/json"), 400),
        (_get("/api/v1/query?query=up&extra_label=namespace%3Dbank"), 400),
        (_get("/api/v1/query?query=up&extra_filters[]=%7B%7D"), 400),
        (_get("/api/v1/query?query=up%00"), 400),
        (_get("/api/v1/query?query=%ff%fe"), 400),
        (_get("/api/v1/query?query=%zz"), 400),
        (_get("/api/v1/query?query=" + "x" * 40_000), 422),
        # Ambiguous framing of the body.
        (_post("query=up", _FORM, "Transfer-Encoding: chunked"), 400),
        (_post("query=up", _FORM, "Content-Length: 5"), 400),
        (_post("query=up", _FORM, "Transfer-Encoding: xchunked"), 400),
        # Another tenant.
        (_get("/api/v1/query?query=up", _BANK), 403),
        (_get("/api/v1/query?query=up", "X-Tenant-Namespace: shop", _BANK), 403),
        (_get("/api/v1/query?query=up", "X-Tenant-Namespace: shop,bank"), 403),
        (_get("/api/v1/query?query=up", "X-Tenant-Namespace: ../bank"), 403),
        (_get("/api/v1/query?query=up", "X-Tenant-Namespace: shop%2Cbank"), 403),
        (_get("/api/v1/query?query=up&namespace=bank"), 403),
        (_get("/api/v1/query?query=up&namespace=shop", _BANK), 400),
        (_get("/api/v1/query?query=up", login=_BOTH), 400),
        # Missing, spoofed, repeated or wrong credentials.
        (_get("/api/v1/query?query=up", login="Cookie: user=grafana"), 401),
        (_get("/api/v1/query?query=up", "X-Remote-User: grafana", login="A: b"), 401),
        (_get("/api/v1/query?query=up", "X-Tenant-Namespace: shop", login="A: b"), 401),
        (_get("/api/v1/query?query=up", _LOGIN), 401),
        (_get("/api/v1/query?query=up", login="Authorization: Bearer abc"), 401),
        # Other spellings of paths.
        (_get("//api/v1/query?query=up"), 404),
        (_get("/api/v1/query/?query=up"), 404),
        (_get("/api/v1/./query?query=up"), 404),
        (_get("/api/v1/x/../query?query=up"), 404),
        (_get("/api/v1/quer%79?query=up"), 404),
        (_get("/API/v1/query?query=up"), 404),
        (_get("/api/v1/query%2f..%2fadmin?query=up"), 404),
        (_get("/api/v1/label/a%0d%0aX:%20y/values"), 404),
        (_get("/api/v1/label/../../query?query=up/values"), 404),
        (_get("/api/v1/admin/tsdb/delete_series?match[]=up"), 404),
        (_get("/api/v1/status/config"), 404),
        (_get("/api/v1/targets"), 404),
        (_get("/api/v1/read"), 404),
        (_get("/metrics"), 404),
        (_get("/debug/pprof/heap"), 404),
        (_post("match[]=up", target="/federate"), 405),
    ],
)  # fmt: skip
async def test_a_request_that_is_not_plain_is_refused_and_asks_nobody(
    site: Site, request_text: str, status: int
) -> None:
    found = await site.send(request_text)

    assert found == status
    assert site.asked == []


@pytest.mark.parametrize(
    "request_text",
    [
        _get("/api/v1/query?query=up", "X_Tenant_Namespace: bank", "X-Tenant_Namespace: bank"),
        _get("/api/v1/query?query=up", "X-Scope-OrgID: bank", "X-Internal-Collection: true"),
        _get("/api/v1/query?query=up", "X-Forwarded-Uri: /api/v1/query?query=secret"),
        _get("/api/v1/query?query=up", "X-Original-URL: /api/v1/query?query=secret"),
        _get("/api/v1/query?query=up", "Connection: close, Authorization, X-Tenant-Namespace"),
        _get("/api/v1/query?query=up", "X-HTTP-Method-Override: DELETE"),
        _get("http://elsewhere.example/api/v1/query?query=up"),
        _get("/api/v1/query?query=up&time=1%0d%0aX-Scope-OrgID:%20bank"),
        _get("/api/v1/query?query=up&namespace=shop&timeout=9%26query%3Dsecret"),
        _post("query=up&time=1%26match%5B%5D%3Dsecret"),
        _get("/api/v1/query?query=up", "Accept-Encoding: gzip, secret"),
    ],
)
async def test_what_else_a_request_says_reaches_no_backend(site: Site, request_text: str) -> None:
    assert await site.send(request_text) == 200

    (asked,) = site.asked
    head = asked.partition("\r\n\r\n")[0]
    assert site.queries() == [_OWN]
    assert f"Host: 127.0.0.1:{site.app.port}" in head
    names = {line.partition(":")[0] for line in head.split("\r\n")[1:]}
    assert names == {"Host", "User-Agent", "Accept-Encoding", "Content-Type", "Content-Length"}


async def test_a_search_for_everything_finds_the_tenant_s_own(site: Site) -> None:
    for target in ("/api/v1/series", "/api/v1/labels", "/api/v1/label/job/values", "/federate"):
        foreign = "?match[]=%7Bjob%3D~%22.%2B%22,namespace!%3D%22shop%22%7D"
        for query in ("", foreign, "?match[]=secret"):
            await site.send(_get(f"{target}{query}"))

    assert len(site.queries()) == 11
    assert all('namespace=~"shop"' in query or "-none-" in query for query in site.queries())
    assert not any("bank" in query for query in site.queries())


async def test_a_body_of_a_megabyte_is_not_even_read(site: Site) -> None:
    head = _post("", _FORM).replace("Content-Length: 0", "Content-Length: 1000000")

    assert await site.send(head, b"query=" + b"x" * 200_000) == 413
    assert site.asked == []


async def test_whoever_may_be_both_is_who_it_says(site: Site) -> None:
    for header in ("bank", "shop, bank"):
        tenant = f"X-Tenant-Namespace: {header}"
        assert await site.send(_get("/api/v1/query?query=up", tenant, login=_BOTH)) == 200

    assert site.queries() == ['up{namespace=~"bank"}', 'up{namespace=~"bank|shop"}']


@pytest.mark.parametrize(
    ("method", "version"), [("HEAD", "1.1"), ("HEAD", "1.0"), ("GET", "1.0"), ("GET", "1.1")]
)
async def test_every_turn_comes_back_however_an_answer_ends(
    site: Site, method: str, version: str
) -> None:
    request_text = _get("/api/v1/labels").replace("GET", method).replace("/1.1", f"/{version}")
    for _ in range(30):
        # The client disconnects after it has read the first line.
        assert await site.send(request_text) in (200, 503)

    await until_async(lambda: site.send(_get("/api/v1/query?query=up")))


async def until_async(status: Callable[[], Awaitable[int]]) -> None:
    """Wait until a request succeeds."""
    async with asyncio.timeout(5):
        while await status() != 200:
            await asyncio.sleep(0.05)

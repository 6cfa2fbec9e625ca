"""The status page's app: server-rendered, served on the loopback only (use port forwarding)."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from injector.errors import RequestError
from injector.web.bodies import BodyBudget
from injector.web.status import playground
from injector.web.status.view import (
    PATTERNS_SHOWN,
    PROBLEMS_SHOWN,
    Sources,
    Wanted,
    colour_of,
    look,
)
from sidecar import VERSION
from sidecar.model.labels.relabel import Rule

WAIT_SECONDS = 20.0
"""How long a page's request waits for a change before the page sends the next one."""
MAX_WATCHERS = 32
MAX_FORM_BYTES = 64 << 10
_HOSTS = frozenset(["localhost", "127.0.0.1", "[::1]"])
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class _Guard:
    """Accepts only requests for loopback host names, and sets the security headers.

    Another host name that resolves to the loopback belongs to a web site, which could otherwise
    read the page through a visitor's browser (DNS rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        reason = _refusal(Request(scope)) if scope["type"] == "http" else ""
        answer = PlainTextResponse(f"{reason}\n", status_code=403) if reason else self._app
        await answer(scope, receive, guarded)


class _Pages:
    """Renders and serves the pages."""

    def __init__(
        self, sources: Sources, read_rules: Callable[[str], Sequence[Rule]], epoch: str
    ) -> None:
        self._sources = sources
        self._read_rules = read_rules
        self._epoch = epoch
        self._bodies = BodyBudget()
        self._environment = _make_environment()

    async def page(self, request: Request) -> Response:
        played = await self._play(playground.EXAMPLE_RULES, playground.EXAMPLE_SERIES)
        return self._whole(request, played, playground.EXAMPLE_RULES, playground.EXAMPLE_SERIES)

    async def live(self, request: Request) -> Response:
        """Return the live part, as soon as it differs from the version that the page has."""
        journal = self._sources.journal
        if request.query_params.get("have") == self._version():
            if journal.watchers >= MAX_WATCHERS:
                return PlainTextResponse("too many status pages are open\n", status_code=503)
            await journal.wait_beyond(journal.version, WAIT_SECONDS)
        if request.query_params.get("have") == self._version():
            return Response(status_code=204)
        return self._html("live.html.j2", **self._state(request))

    async def collected(self, request: Request) -> Response:
        """Return what is forwarded for each tenant, by rule."""
        tenants: dict[str, dict[str, Any]] = {}
        for (namespace, rule), facts in sorted(self._sources.proxies.sending().items()):
            tenants.setdefault(namespace, {})[rule] = asdict(facts)
        return JSONResponse(tenants, headers={"Cache-Control": "no-store"})

    async def play(self, request: Request) -> Response:
        try:
            async with self._bodies.reading(request, MAX_FORM_BYTES) as body:
                fields = parse_qs(body.decode(), max_num_fields=8, keep_blank_values=True)
        except RequestError as error:
            return PlainTextResponse(f"{error}\n", status_code=error.status)
        except ValueError:
            return PlainTextResponse("the body is not a form\n", status_code=400)
        rules, series = (fields.get(name, [""])[0] for name in ("rules", "series"))
        played = await self._play(rules, series)
        if "part" in request.query_params:
            return self._html("played.html.j2", played=played)
        return self._whole(request, played, rules, series)

    async def _play(self, rules: str, series: str) -> playground.Played:
        return await asyncio.to_thread(playground.play, rules, series, self._read_rules)

    def _whole(
        self, request: Request, played: playground.Played, rules: str, series: str
    ) -> Response:
        state = self._state(request)
        return self._html(
            "page.html.j2", **state, played=played, rules_text=rules, series_text=series
        )

    def _state(self, request: Request) -> dict[str, Any]:
        wanted = _wanted(request)
        return {
            "version": self._version(),
            "status": look(self._sources, wanted),
            "turn": lambda table, number: _turn(wanted, table, number),
        }

    def _version(self) -> str:
        return f"{self._epoch}-{self._sources.journal.version}"

    def _html(self, template: str, **values: Any) -> Response:
        text = self._environment.get_template(template).render(values)
        # An object's name in an admission review may contain a lone surrogate.
        body = text.encode(errors="replace")
        return HTMLResponse(body, headers={"Cache-Control": "no-store"})


def build_status_app(sources: Sources, read_rules: Callable[[str], Sequence[Rule]]) -> ASGIApp:
    """Build the app behind the status port.

    Args:
        sources: the page's data.
        read_rules: parses the playground's rules; raises SettingsError.
    """
    pages = _Pages(sources, read_rules, secrets.token_hex(4))
    app = Starlette(
        routes=[
            Route("/", pages.page, methods=["GET"]),
            Route("/live", pages.live, methods=["GET"]),
            Route("/collected-metrics", pages.collected, methods=["GET"]),
            Route("/playground", pages.play, methods=["POST"]),
            Route("/playground", pages.page, methods=["GET"]),
            Route("/assets/{name}", _asset, methods=["GET"]),
        ]
    )
    return _Guard(app)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        return PlainTextResponse("file not found\n", status_code=404)
    headers = {"Cache-Control": "max-age=31536000, immutable"}
    return Response(_read_asset(name), media_type=_ASSETS[name], headers=headers)


def _read_asset(name: str) -> bytes:
    return (files("injector.web.status") / "assets" / name).read_bytes()


def _refusal(request: Request) -> str:
    host = request.headers.get("host", "")
    if host not in _HOSTS and host.rpartition(":")[0] not in _HOSTS:
        return "this page is served on localhost only; forward its port to your machine"
    if request.headers.get("origin", f"http://{host}") != f"http://{host}":
        return "requests from other sites are refused"  # for browsers without the header below
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        is_navigation = request.headers.get("sec-fetch-mode") == "navigate"
        if request.method != "GET" or not is_navigation:
            return "requests from other sites are refused"
    return ""


def _wanted(request: Request) -> Wanted:
    def number(name: str) -> int:
        text = request.query_params.get(name, "1")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1

    search = request.query_params.get("search", "")[:100]
    return Wanted(search, number("workloads"), number("namespaces"), number("rules"))


def _turn(wanted: Wanted, table: str, number: int) -> str:
    """Return the URL of another page of one table; the other tables stay on their pages."""
    fields = {**wanted._asdict(), table: number}
    shown = {name: value for name, value in fields.items() if value not in ("", 1)}
    return f"/?{urlencode(shown)}#{table}"


def _make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("injector.web.status"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stamp = hashlib.sha256(b"".join(map(_read_asset, sorted(_ASSETS)))).hexdigest()[:12]
    environment.globals.update(
        asset=lambda name: f"/assets/{name}?{stamp}",
        livery_version=VERSION,
        patterns_shown=PATTERNS_SHOWN,
        problems_shown=PROBLEMS_SHOWN,
    )
    environment.filters.update(
        colour=lambda value: f"c{colour_of(value)}",
        mb=lambda count: f"{count / 1e6:.1f} MB",
        when=_when,
    )
    return environment


def _when(moment: float | datetime) -> str:
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

"""The control service: `GET /v1/policy` streams a proxy its policy, `POST /v1/report` hears of it.

What a proxy may know follows from its token alone. To the unauthenticated nothing is told.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Send

from injector.control.hub import PolicyHub
from injector.control.identity import Authenticator, Caller
from injector.errors import IdentityError, ReviewError
from injector.model.policies import Scope
from injector.model.settings import Platform
from injector.web.bodies import read_body
from injector.web.metrics import InjectorMetrics

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 16 << 10
MAX_REPORTS = 20_000
"""Twice the proxies that one replica is made for."""
STREAM_SECONDS = 1800.0
"""After half an hour a proxy comes back, to whichever replica has fewest: load spreads."""
SEND_TIMEOUT_SECONDS = 30.0
_ROLES = ("pod",)


@dataclass
class ControlContext:
    """What the control service answers by."""

    hub: PolicyHub
    authenticator: Authenticator
    platform: Platform
    metrics: InjectorMetrics
    reports: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """The last report of each proxy, by namespace and pod."""


def build_control_app(context: ControlContext) -> Starlette:
    """Build the app behind the control port."""

    async def policy(request: Request) -> Response:
        return await _guarded(request, context, _stream_policy)

    async def report(request: Request) -> Response:
        return await _guarded(request, context, _take_report)

    return Starlette(
        routes=[
            Route("/v1/policy", policy, methods=["GET"]),
            Route("/v1/report", report, methods=["POST"]),
        ]
    )


def _known_fields(report: dict[str, Any]) -> dict[str, Any]:
    """Keep of a report what is shown, in bounds: a pod could send anything."""
    texts = ("role", "proxyVersion", "policyVersion", "policyError")
    kept: dict[str, Any] = {key: str(report.get(key, ""))[:200] for key in texts}
    resident = report.get("residentBytes")
    kept["residentBytes"] = resident if isinstance(resident, int) else 0
    faults, targets = report.get("faults"), report.get("targets")
    kept["faults"] = [str(item)[:200] for item in faults[:8]] if isinstance(faults, list) else []
    kept["targets"] = [
        {key: str(item.get(key, ""))[:200] for key in ("url", "up", "error", "samples")}
        for item in (targets[:16] if isinstance(targets, list) else [])
        if isinstance(item, dict)
    ]
    return kept


def scope_of(caller: Caller, platform: Platform) -> Scope:
    """What a caller in the pod role may know."""
    return Scope(caller.namespace, knows_all_labels=caller.service_account in platform.exporters)


async def _guarded(request: Request, context: ControlContext, handle: Any) -> Response:
    try:
        caller = await context.authenticator.authenticate(_bearer_token(request))
        answer: Response = await handle(request, context, caller)
    except (IdentityError, ReviewError) as error:
        context.metrics.refused.labels(str(error.status)).inc()
        return PlainTextResponse(f"{error}\n", status_code=error.status)
    return answer


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise IdentityError(401, "a bearer token is needed")
    return token.strip()


async def _stream_policy(request: Request, context: ControlContext, caller: Caller) -> Response:
    role = request.query_params.get("role", "")
    if role not in _ROLES:
        raise ReviewError(400, f"role {role[:40]!r} is not served here ({', '.join(_ROLES)})")
    scope = scope_of(caller, context.platform)
    version = request.query_params.get("version", "")[:64]
    lifetime = STREAM_SECONDS * random.uniform(0.8, 1.2)
    if caller.expires_at is not None:
        lifetime = min(lifetime, caller.expires_at - time.time())

    token = _bearer_token(request)

    async def messages() -> AsyncIterator[bytes]:
        with context.hub.open(scope, version) as stream:
            context.metrics.streams.set(context.hub.count)
            async for message in stream.messages(lifetime):
                if not await _still_counts(context, token, caller):
                    break
                yield message
        context.metrics.streams.set(context.hub.count)

    return _TimedStream(messages(), media_type="application/x-ndjson")


async def _still_counts(context: ControlContext, token: str, caller: Caller) -> bool:
    """Ask again before each message, a ping at least each 15 s: tokens end, grants change."""
    try:
        return await context.authenticator.authenticate(token) == caller
    except IdentityError:
        return False


class _TimedStream(StreamingResponse):
    """A stream that ends where its reader takes nothing: nobody else would notice."""

    async def stream_response(self, send: Send) -> None:
        async def timed(message: Message) -> None:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await send(message)

        try:
            await super().stream_response(timed)
        except TimeoutError:
            logger.info("a proxy took nothing from its stream; it is closed")


async def _take_report(request: Request, context: ControlContext, caller: Caller) -> Response:
    body = await read_body(request, MAX_REPORT_BYTES)
    try:
        report = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ReviewError(400, "the report is not JSON") from error
    if not isinstance(report, dict):
        raise ReviewError(400, "the report is not an object")
    key = (caller.namespace, caller.pod)
    context.reports.pop(key, None)
    while len(context.reports) >= MAX_REPORTS:
        del context.reports[next(iter(context.reports))]  # the one not renewed for longest
    context.reports[key] = _known_fields(report)
    context.metrics.reports.inc()
    return Response(status_code=204)

"""The control service: `GET /v1/policy` streams a proxy its policy, `POST /v1/report` hears of it.

What a proxy may know follows from its token alone. To the unauthenticated nothing is told.
"""

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

    async def messages() -> AsyncIterator[bytes]:
        with context.hub.open(scope, version) as stream:
            context.metrics.streams.set(context.hub.count)
            async for message in stream.messages(lifetime):
                yield message
        context.metrics.streams.set(context.hub.count)

    return StreamingResponse(messages(), media_type="application/x-ndjson")


async def _take_report(request: Request, context: ControlContext, caller: Caller) -> Response:
    body = await read_body(request, MAX_REPORT_BYTES)
    try:
        report = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ReviewError(400, "the report is not JSON") from error
    if not isinstance(report, dict):
        raise ReviewError(400, "the report is not an object")
    key = (caller.namespace, caller.pod)
    if key not in context.reports and len(context.reports) >= MAX_REPORTS:
        raise ReviewError(503, "as many reports are kept as may be")
    context.reports[key] = report
    context.metrics.reports.inc()
    return Response(status_code=204)

"""The control service: policy streams, proxies' reports, and reviews of third-party tokens.

What a proxy may know depends on its token alone. Unauthenticated clients learn nothing.
"""

import asyncio
import itertools
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from injector.control.backend import PodsFollower
from injector.control.hub import PolicyHub, Stream
from injector.control.identity import Authenticator, Caller, Reviewer
from injector.control.journal import Journal
from injector.control.peers import write_proxies
from injector.control.proxies import Proxies
from injector.control.reports import Reports
from injector.errors import IdentityError, RequestError
from injector.model.policies.scope import Scope
from injector.model.roles import ROLES, Holder, check_is_replica, check_may_judge, find_scope
from injector.platform.settings import Platform
from injector.web.bodies import BodyBudget, refusal
from injector.web.metrics import InjectorMetrics
from injector.web.questions import read_question
from injector.web.streams import PolicyStream, UnsentBytes
from sidecar.auth.rates import TokenBuckets

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 64 << 10
MAX_COLLECTOR_REPORT_BYTES = 1 << 20
"""A collector reports on objects of many namespaces."""
MAX_QUESTION_BYTES = 32 << 10
_REPORTS_AT_ONCE = 100
_POLICY = ("GET", "/v1/policy")
STREAM_SECONDS = 1800.0
"""Mean lifetime of a stream: proxies then reconnect, which spreads them over the replicas."""


@dataclass
class ControlContext:
    """State and settings of the control service."""

    hub: PolicyHub
    authenticator: Authenticator
    platform: Platform
    metrics: InjectorMetrics
    reviewer: Reviewer | None = None
    journal: Journal = field(default_factory=Journal)
    reports: Reports = field(default_factory=Reports)
    proxies: Proxies = field(init=False)
    bodies: BodyBudget = field(default_factory=BodyBudget)
    unsent: UnsentBytes = field(default_factory=UnsentBytes)
    policy_rate: TokenBuckets[tuple[str, str]] = field(
        default_factory=lambda: TokenBuckets(20.0, 0.5)
    )
    """Limits how often one pod opens streams; a proxy reconnects after 0.2 to 30 s."""
    report_rate: TokenBuckets[tuple[str, str]] = field(
        default_factory=lambda: TokenBuckets(10.0, 0.1)
    )
    """Limits how often one pod reports; a proxy sends one report per minute."""
    replica_account: str = ""
    """Service account that the replicas share; empty if there is only one replica."""
    has_read: Callable[[], bool] = lambda: True
    """Whether the cluster was read completely; until then a policy could lack labels and replace
    a good one."""
    pods: PodsFollower | None = None
    """Watches the pods that an aggregate may know; None if all pods are known already."""

    def __post_init__(self) -> None:
        self.proxies = Proxies(self.hub, self.reports)


def build_control_app(context: ControlContext) -> ASGIApp:
    """Build the app behind the control port."""
    others = _build_others(context)

    async def app(scope: ASGIScope, receive: Receive, send: Send) -> None:
        # A stream bypasses Starlette, whose stack frames would take 5 KB for its whole lifetime.
        if scope["type"] == "http" and (scope["method"], scope["path"]) == _POLICY:
            response = await _guarded(Request(scope, receive), context, _stream_policy)
            await response(scope, receive, send)
        else:
            await others(scope, receive, send)

    return app


def _build_others(context: ControlContext) -> Starlette:
    async def report(request: Request) -> Response:
        return await _guarded(request, context, _take_report)

    async def reports(request: Request) -> Response:
        return await _guarded(request, context, _tell_replica)

    async def authenticate(request: Request) -> Response:
        return await _guarded(request, context, _judge_token)

    app = Starlette(
        routes=[
            Route("/v1/authenticate", authenticate, methods=["POST"]),
            Route("/v1/report", report, methods=["POST"]),
            Route("/v1/reports", reports, methods=["GET"]),
        ]
    )
    # A redirect would reveal to unauthenticated clients that a path exists.
    app.router.redirect_slashes = False
    return app


async def _guarded(request: Request, context: ControlContext, handle: Any) -> Response:
    try:
        token = _bearer_token(request)
        caller = await context.authenticator.authenticate(token, _peer(request))
        answer: Response = await handle(request, context, caller)
    except (IdentityError, RequestError) as error:
        context.metrics.refused.labels(str(error.status)).inc()
        return refusal(error, error.status)
    return answer


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise IdentityError(401, "a bearer token is required")
    return token.strip()


async def _stream_policy(request: Request, context: ControlContext, caller: Caller) -> Response:
    role = request.query_params.get("role", "")
    if role not in ROLES:
        raise RequestError(400, f"role {role[:40]!r} is unknown (known: {', '.join(ROLES)})")
    if request.scope["http_version"] != "1.1":
        raise RequestError(505, "a policy stream needs HTTP/1.1")
    if not context.has_read():
        raise RequestError(503, "the cluster has not been read yet")
    holder = Holder(caller.namespace, caller.pod, caller.service_account)
    scope = find_scope(role, holder, context.platform)
    if not context.policy_rate.take((caller.namespace, caller.pod)):
        raise RequestError(429, "this pod opens streams too often")
    version = request.query_params.get("version", "")[:64]
    lifetime = STREAM_SECONDS * random.uniform(0.8, 1.2)
    if caller.expires_at is not None:
        lifetime = min(lifetime, caller.expires_at - time.time())

    if context.pods is not None and scope.pods_of:
        unlisted = await context.pods.listed(scope.pods_of)
        if unlisted:
            raise RequestError(503, unlisted)

    token = _bearer_token(request)

    async def may_go_on() -> bool:
        return await context.authenticator.is_still_valid(token, caller)

    opened = _opened(context, scope, version, caller)
    room = context.unsent.of(caller.namespace)
    return PolicyStream(opened, lifetime, may_go_on, room)


@contextmanager
def _opened(
    context: ControlContext, scope: Scope, version: str, caller: Caller
) -> Iterator[Stream]:
    following = nullcontext() if context.pods is None else context.pods.following(scope.pods_of)
    try:
        with following, context.hub.open(scope, version, (caller.namespace, caller.pod)) as stream:
            _observe_streams(context)
            yield stream
    finally:
        _observe_streams(context)


def _observe_streams(context: ControlContext) -> None:
    context.metrics.streams.set(context.hub.count)
    context.journal.ring()


async def _take_report(request: Request, context: ControlContext, caller: Caller) -> Response:
    if not context.report_rate.take((caller.namespace, caller.pod)):
        raise RequestError(429, "this pod reports too often")
    is_collector = caller.service_account in context.platform.collectors
    limit_bytes = MAX_COLLECTOR_REPORT_BYTES if is_collector else MAX_REPORT_BYTES
    async with context.bodies.reading(request, limit_bytes) as body:
        try:
            report = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, "the report is not JSON") from error
    if not isinstance(report, dict):
        raise RequestError(400, "the report is not a JSON object")
    pod = (caller.namespace, caller.pod)
    context.reports.put(pod, report, is_collector=is_collector)
    context.journal.ring()
    context.metrics.reports.inc()
    return Response(status_code=204)


async def _tell_replica(request: Request, context: ControlContext, caller: Caller) -> Response:
    check_is_replica(caller.service_account, context.replica_account)
    return StreamingResponse(_report_parts(context), media_type="application/x-ndjson")


async def _report_parts(context: ControlContext) -> AsyncIterator[bytes]:
    lines = write_proxies(context.proxies.own(), time.time())
    while part := b"".join(itertools.islice(lines, _REPORTS_AT_ONCE)):
        yield part
        await asyncio.sleep(0)  # let the policy streams proceed


async def _judge_token(request: Request, context: ControlContext, caller: Caller) -> Response:
    check_may_judge(caller.service_account, context.platform)
    if context.reviewer is None:
        raise RequestError(503, "tokens cannot be reviewed: this injector has no API server")
    async with context.bodies.reading(request, MAX_QUESTION_BYTES) as body:
        question = read_question(body)
    review = await context.reviewer.review(
        question.token, question.access, _peer(request), audiences=question.audiences
    )
    answer: dict[str, Any] = {"authenticated": bool(review.username)}
    if review.username:
        answer["user"] = {"username": review.username, "groups": list(review.groups)}
        answer["allowed"] = review.is_allowed
        answer["validSeconds"] = round(review.valid_seconds, 3)
    return JSONResponse(answer)

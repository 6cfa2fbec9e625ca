"""The gateway: authenticates a request, rewrites it for its tenants, and answers it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from sidecar.auth.rates import TokenBuckets
from sidecar.errors import LiveryError, QueryRefusedError
from sidecar.gateway.answers import Terms, broke_off, changed, pass_on
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.callers.caller import Caller
from sidecar.gateway.callers.networks import network_of
from sidecar.gateway.endpoints import ENDPOINTS, Endpoint, Kind, find_endpoint
from sidecar.gateway.gaps import FILLED_AT_ONCE, FILLED_PATHS, ask_replicas
from sidecar.gateway.limits import Limiter, Turn
from sidecar.gateway.metadata import VisibleMetadata
from sidecar.gateway.parameters import PARAMETER, check_parameters, read_parameters
from sidecar.gateway.questions import Bounds, Question, write_question
from sidecar.gateway.refusals import Cause, Refusal, succeeded
from sidecar.gateway.sharing import SharedAnswers
from sidecar.gateway.tenants import HEADER, Sight, Tenants, Views, choose_tenants
from sidecar.http.messages import Request, Response, plain
from sidecar.http.negotiation import takes_gzip

logger = logging.getLogger(__name__)

HEALTH = "/health"
ANSWER_SECONDS = 300.0
"""Longest duration of a response: it holds a slot, so it must end."""
_REFUSAL_LINES, _REFUSAL_LINES_PER_SECOND = 100, 10
_BUILD = {
    "version": "3.5.0", "revision": "livery", "branch": "", "buildUser": "", "buildDate": "",
    "goVersion": "",
}  # fmt: skip


class Authenticator(Protocol):
    """Authenticates clients."""

    async def authenticate(self, headers: Mapping[str, str], peer: str) -> Caller:
        """Return the caller; raises Refusal if the credentials are missing or invalid."""


class Observer(Protocol):
    """Is notified of each request."""

    def answered(self, path: str, status: int, seconds: float, refusal: Refusal | None) -> None:
        """Count a response; `refusal` is None if the request was answered."""


class Gateway:
    """Answers tenants' requests.

    Args:
        authenticator: authenticates clients.
        backends: the Prometheus servers.
        limiter: applies the tenants' limits.
        observer: is notified of each request.
        staleness: returns why the current rules may be out of date; empty if they are not.
        fills_gaps: whether two backends are queried, and gaps of one are filled from the other.
        pause_seconds: how long a backend may send nothing in the middle of a response.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        backends: BackendGroup,
        limiter: Limiter,
        observer: Observer,
        *,
        staleness: Callable[[], str] = str,
        fills_gaps: bool = False,
        pause_seconds: float = 30.0,
    ) -> None:
        self._authenticator = authenticator
        self._backends = backends
        self._limiter = limiter
        self._observer = observer
        self._staleness = staleness
        self._fills_gaps = fills_gaps
        self._pause_seconds = pause_seconds
        self._has_rules = False
        metadata = VisibleMetadata(backends)
        self._described = {Kind.METADATA: metadata.of_metrics, Kind.TARGETS: metadata.of_targets}
        self._shared = SharedAnswers()
        self._filling = asyncio.Semaphore(FILLED_AT_ONCE)
        self._lines: TokenBuckets[str] = TokenBuckets(_REFUSAL_LINES, _REFUSAL_LINES_PER_SECOND)
        self.views = Views({})

    @property
    def fault(self) -> str:
        """Why no request is answered; empty if requests are answered."""
        return self._staleness() if self._has_rules else "there are no access rules yet"

    def use(self, views: Views) -> None:
        """Apply new rules; responses in flight are aborted if their tenants' rules changed."""
        views.inherit(self.views)
        self.views = views
        self._has_rules = True

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        if request.path == HEALTH:
            fault = self.fault
            return plain(503 if fault else 200, fault or "ok")
        started = time.monotonic()
        exchange = _Exchange(request)
        refused: Refusal | None = None
        try:
            response = await self._answer(exchange)
        except Refusal as refusal:
            refused = refusal
            response = refusal.respond()
        except QueryRefusedError as error:
            refused = Refusal(Cause.ACCESS, 422, str(error))
            response = refused.respond()
        except LiveryError as error:
            refused = Refusal(Cause.BACKEND, 502, broke_off(error))
            response = refused.respond()
        self._log(exchange, response.status, refused)
        seconds = time.monotonic() - started
        path = request.path if request.path in ENDPOINTS else _shown(request.path)
        self._observer.answered(path, response.status, seconds, refused)
        return response

    def _log(self, exchange: "_Exchange", status: int, refusal: Refusal | None) -> None:
        extra: dict[str, object] = {
            "tenant_id": ",".join(exchange.tenants), "user": exchange.user,
            "path": exchange.request.path[:100], "status": status,
        }  # fmt: skip
        if refusal is None:
            logger.info("answered", extra={**extra, "successful_targets": int(exchange.is_asked)})
        elif self._lines.take(network_of(exchange.request.peer)):
            # Limited per client: a flood of bad requests neither fills the disk nor hides others.
            extra |= {
                "peer": exchange.request.peer,
                "cause": refusal.cause,
                "reason": str(refusal)[:500],
            }
            logger.info("refused", extra=extra)

    async def _answer(self, exchange: "_Exchange") -> Response:
        request = exchange.request
        endpoint = find_endpoint(request.path, request.method)
        caller = await self._authenticator.authenticate(request.headers, request.peer)
        exchange.user = caller.name
        fault = self.fault
        if fault:
            raise Refusal(Cause.POLICY, 503, fault, retry_seconds=5)
        parameters = read_parameters(request)
        named = parameters.pop(PARAMETER, [])
        tenants = await choose_tenants(caller, request.headers.get(HEADER, ""), named)
        exchange.tenants = tenants
        check_parameters(parameters, endpoint.single, endpoint.repeated)
        own = _OWN.get(endpoint.kind)
        if own is not None:
            return succeeded(own)
        exchange.is_asked = True
        turn = await self._limiter.enter(tenants)
        try:
            async with asyncio.timeout(2 * self._pause_seconds):
                response = await self._ask(request, endpoint, parameters, turn)
        except TimeoutError:
            turn.leave()
            sentence = "no response in time; query less data"
            raise Refusal(Cause.BACKEND, 504, sentence) from None
        except BaseException:
            turn.leave()
            raise
        if response.parts is None:
            turn.leave()
        return response

    async def _ask(
        self,
        request: Request,
        endpoint: Endpoint,
        parameters: Mapping[str, list[str]],
        turn: Turn,
    ) -> Response:
        sight = self.views.of(turn.tenants)
        if endpoint.kind in self._described:
            answer = await self._described[endpoint.kind](parameters, sight)
            if not self._holds(sight):
                raise changed()
            return answer
        bounds = Bounds(turn.limits.query_bytes, turn.limits.range_seconds)
        question = write_question(request, endpoint, parameters, sight, bounds=bounds)
        is_zipped = takes_gzip(request.headers.get("accept-encoding", ""))
        logger.debug("asked", extra={"path": request.path, "form": question.form[:4000]})
        asking = _Asking(question, is_zipped, sight)
        return await self._shared.get(asking, partial(self._put, asking, turn))

    async def _put(self, asking: "_Asking", turn: Turn) -> Response:
        """Send a question to the backends."""
        question, sight = asking.question, asking.sight
        limit_bytes, holds = turn.limits.response_bytes, partial(self._holds, sight)
        until = asyncio.get_running_loop().time() + ANSWER_SECONDS
        replicas = self._backends.replicas(2) if self._fills_gaps else []
        if len(replicas) > 1 and question.path in FILLED_PATHS:
            async with self._filling:
                response = await ask_replicas(self._backends, question, replicas, limit_bytes)
            if not holds():
                raise changed()
            return response
        asked = await self._backends.ask(question, takes_gzip=asking.takes_gzip)
        # The slot is held until the client has read the response.
        kind, pause_seconds = question.content_type, self._pause_seconds
        terms = Terms(kind, limit_bytes, holds, turn.leave, until, pause_seconds)
        return await pass_on(asked, terms)

    def _holds(self, sight: Sight) -> bool:
        """Return whether the access rules of a request still apply."""
        return self.views.same(sight.views, sight.tenants) and not self.fault


class _Exchange:
    """One request, and what is known about its sender."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.user = ""
        self.tenants: Tenants = ()
        self.is_asked = False
        """Whether the request needs a backend."""


class _Asking(NamedTuple):
    """Everything that a response depends on: the key by which requests are coalesced."""

    question: Question
    takes_gzip: bool
    sight: Sight


_OWN: Mapping[Kind, Any] = {
    Kind.BUILD: _BUILD,
    Kind.NO_RULES: {"groups": []},
    Kind.NO_ALERTS: {"alerts": []},
}


def _shown(path: str) -> str:
    """Return a path as a label value of a metric: paths that clients can invent share one."""
    return "/api/v1/label/NAME/values" if path.startswith("/api/v1/label/") else "other"

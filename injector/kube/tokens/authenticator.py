"""Authentication by TokenReview: the API server says which pod a token belongs to.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

import asyncio
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from injector.control.identity import Caller
from injector.errors import IdentityError, KubeError
from injector.kube.api.client import KubeClient
from injector.kube.tokens.claims import check_claims
from injector.kube.tokens.queue import ReviewQueue
from injector.kube.tokens.reviews import review_token
from injector.model.cluster.names import TOKEN_AUDIENCE
from sidecar.auth.decisions import Decided, DecisionCache, Lane, token_key

CACHE_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""How long a refusal stays valid: a client that retries in a loop causes no more reviews."""
RECHECK_SECONDS = 300.0
"""How often an open stream's token is reviewed: 10,000 streams cause 33 reviews a second."""
MAX_REMEMBERED = 50_000
MAX_REFUSED = 1_000
MAX_GONE = 10_000
"""Deleted pods to remember; the API server accepts their tokens for ten more seconds."""
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_ACCOUNT = "system:serviceaccount:"


class _Judged(NamedTuple):
    caller: Caller | None
    status: int = 0
    """HTTP status and, in `reason`, why there is no caller."""
    reason: str = ""


def _lane(judged: _Judged) -> Lane:
    if judged.caller is not None:
        return Lane.GOOD
    return Lane.UNDECIDED if judged.status == 503 else Lane.REFUSED


class TokenReviewAuthenticator:
    """Has tokens reviewed by the API server; caches the results by the token's hash."""

    def __init__(self, client: KubeClient, queue: ReviewQueue | None = None) -> None:
        self._client = client
        self._queue = queue or ReviewQueue()
        self._cache: DecisionCache[bytes, _Judged] = DecisionCache(
            _lane, good_limit=MAX_REMEMBERED, other_limit=MAX_REFUSED
        )
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Uids of pods that were deleted."""

    async def authenticate(self, token: str, peer: str = "") -> Caller:
        """Return the pod that a token belongs to.

        Args:
            token: the token.
            peer: the client's address; reviews of its new tokens are limited.

        Raises:
            IdentityError: 401 if the token is invalid here, 403 if it belongs to no pod, 503 if it
                could not be reviewed.
        """
        key = token_key(token)
        judged = self._find(key)
        if judged is None:
            check_claims(token, TOKEN_AUDIENCE, time.time())
            judged = (await asyncio.shield(self._ask(key, token, peer))).decision
        if judged.caller is None:
            # A new exception each time: a cached one would keep every caller's frames alive.
            raise IdentityError(judged.status, judged.reason)
        if judged.caller.uid in self._gone:
            raise IdentityError(401, "the token's pod was deleted")
        return judged.caller

    async def is_still_valid(self, token: str, caller: Caller) -> bool:
        """Tell whether an open stream's token is still valid for the caller, as far as is known.

        It is reviewed again in the background: a stream never waits for the API server.
        """
        if caller.expires_at is not None and time.time() >= caller.expires_at:
            return False
        if caller.uid in self._gone:
            return False
        key = token_key(token)
        refused, good = self._cache.other(key), self._cache.good(key)
        if refused is not None and refused.decision.status != 503:
            return False
        if good is None or good.age_seconds >= RECHECK_SECONDS:
            self._ask(key, token, "")
        return good is None or good.decision.caller == caller

    def forget(self, uid: str) -> None:
        """Reject a deleted pod; its open stream gets no more messages and ends at the next ping.

        May be called from any thread.
        """
        self._gone[uid] = None
        while len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)

    def _find(self, key: bytes) -> _Judged | None:
        refused, good = self._cache.other(key), self._cache.good(key)
        if refused is not None and refused.age_seconds < REFUSED_SECONDS:
            return refused.decision
        if good is None or good.decision.caller is None or good.age_seconds >= CACHE_SECONDS:
            return None
        end = good.decision.caller.expires_at
        return good.decision if end is None or time.time() < end else None

    def _ask(self, key: bytes, token: str, peer: str) -> "asyncio.Task[Decided[_Judged]]":
        is_known = self._cache.good(key) is not None
        return self._cache.ask(
            key,
            lambda: self._queue.run(lambda: self._review(token), peer=peer, is_known=is_known),
        )

    def _review(self, token: str) -> _Judged:
        try:
            status = review_token(self._client, token, TOKEN_AUDIENCE)
            claims = check_claims(token, TOKEN_AUDIENCE, 0.0)
            return _Judged(_read(status, claims.expires_at))
        except KubeError as error:
            return _Judged(None, 503, f"the token cannot be reviewed: {error}")
        except IdentityError as error:
            return _Judged(None, error.status, str(error))


def _read(status: dict[str, Any], expires_at: float | None) -> Caller:
    if status.get("authenticated") is not True:
        raise IdentityError(401, "the API server rejected the token")
    # An API server without support for audiences answers for its own.
    if TOKEN_AUDIENCE not in (status.get("audiences") or ()):
        raise IdentityError(401, f"the token is not for the audience {TOKEN_AUDIENCE}")
    user = status.get("user") or {}
    extra = user.get("extra") or {}
    account = str(user.get("username", ""))
    namespace, _, name = account.removeprefix(_ACCOUNT).partition(":")
    pod, uid = _first(extra, _POD_NAME), _first(extra, _POD_UID)
    if not account.startswith(_ACCOUNT) or not pod or not uid:
        raise IdentityError(403, "the token belongs to no pod")
    return Caller(namespace, pod, uid, f"{namespace}/{name}", expires_at)


def _first(extra: dict[str, Any], key: str) -> str:
    values = extra.get(key)
    return str(values[0]) if isinstance(values, list) and values else ""

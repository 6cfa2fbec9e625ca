"""Reviews of third parties' tokens by the API server, for node proxies and gateways.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
"""

import asyncio

from injector.control.identity import AccessAttributes, TokenVerdict
from injector.errors import IdentityError, KubeError
from injector.kube.api.client import KubeClient
from injector.kube.tokens.queue import ReviewQueue
from injector.kube.tokens.reviews import may_access, review_token
from sidecar.auth.decisions import Decided, DecisionCache, Lane, token_key

CACHE_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""How long a refusal stays valid: short, so that a new grant takes effect soon."""
MAX_REMEMBERED = 10_000
MAX_REFUSED = 1_000

_Key = tuple[bytes, AccessAttributes | None, tuple[str, ...]]
_UNKNOWN = TokenVerdict("", (), is_allowed=False)


class AccessReviewer:
    """Asks the API server whose a token is and what that user may do; caches it for a minute."""

    def __init__(self, client: KubeClient, queue: ReviewQueue | None = None) -> None:
        self._client = client
        self._queue = queue or ReviewQueue()
        self._cache: DecisionCache[_Key, TokenVerdict] = DecisionCache(
            _lane, good_limit=MAX_REMEMBERED, other_limit=MAX_REFUSED
        )

    async def review(
        self,
        token: str,
        access: AccessAttributes | None,
        peer: str = "",
        *,
        audiences: tuple[str, ...] = (),
    ) -> TokenVerdict:
        """Return whose token it is, and whether that user may do something.

        Args:
            token: the token.
            access: what the user wants to do; None to authenticate only.
            peer: address of the proxy that asks; the reviews that it causes are limited.
            audiences: audiences of which the token must have one; if empty, it must have the API
                server's.

        Raises:
            IdentityError: 503 if the token could not be reviewed: nobody is admitted on a guess.
        """
        key = token_key(token), access, audiences
        for kept in (self._cache.good(key), self._cache.other(key)):
            if kept is not None and (left := _left_seconds(kept)) > 0:
                return kept.decision._replace(valid_seconds=left)
        is_known = self._cache.good(key) is not None
        asking = self._cache.ask(
            key,
            lambda: self._queue.run(
                lambda: self._judge(token, access, audiences), peer=peer, is_known=is_known
            ),
        )
        # Shielded: a caller that disconnects must not cancel the review for the others.
        decided = await asyncio.shield(asking)
        return decided.decision._replace(valid_seconds=max(0.0, _left_seconds(decided)))

    def _judge(
        self, token: str, access: AccessAttributes | None, audiences: tuple[str, ...]
    ) -> TokenVerdict:
        try:
            status = review_token(self._client, token, *audiences)
            user = status.get("user") or {}
            if status.get("authenticated") is not True or not user.get("username"):
                return _UNKNOWN
            # An API server without support for audiences answers for its own.
            if audiences and not set(audiences) & set(status.get("audiences") or ()):
                return _UNKNOWN
            is_allowed = access is None or may_access(self._client, user, access)
        except KubeError as error:
            raise IdentityError(503, f"the token cannot be reviewed: {error}") from error
        return TokenVerdict(
            str(user["username"]), tuple(user.get("groups") or ()), is_allowed=is_allowed
        )


def _lane(verdict: TokenVerdict) -> Lane:
    return Lane.GOOD if verdict.is_allowed else Lane.REFUSED


def _left_seconds(decided: Decided[TokenVerdict]) -> float:
    """How long a decision is still valid."""
    valid = CACHE_SECONDS if decided.decision.is_allowed else REFUSED_SECONDS
    return valid - decided.age_seconds

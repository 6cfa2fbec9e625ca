"""Authentication by Kubernetes tokens for the gateway's audience.

A service account may act as the tenant of its own namespace. RBAC decides about other tenants
(`get metricaccesses` in their namespace) and about the admin pages (`get` on their path).
"""

from sidecar.auth.rates import TokenBuckets
from sidecar.auth.reviews import Access, Ask, Review, TokenReviews, read_bearer
from sidecar.gateway.callers.caller import Credentials
from sidecar.gateway.refusals import Cause, Refusal

AUDIENCE = "livery-gateway"
MAX_REMEMBERED = 5000
QUESTION_BURST, QUESTIONS_PER_SECOND = 100, 5
"""Rate limit of new access reviews per user; each is a request to the API server."""
_GROUP, _RESOURCE = "observability.ethos.io", "metricaccesses"


class Tokens:
    """Authenticates users of the cluster.

    Args:
        ask: sends a review to the control service.
    """

    wants = f"a Kubernetes token of audience {AUDIENCE}"
    challenge = 'Bearer realm="Livery"'

    def __init__(self, ask: Ask) -> None:
        self._reviews = TokenReviews(ask, audiences=(AUDIENCE,), remembered=MAX_REMEMBERED)
        self._questions: TokenBuckets[str] = TokenBuckets(QUESTION_BURST, QUESTIONS_PER_SECOND)

    def takes(self, credentials: Credentials) -> bool:
        """Return whether the request has a bearer token."""
        return credentials.authorization[:7].lower() == "bearer "

    def knows(self, credentials: Credentials) -> bool:
        """Return whether the token was accepted before, or refused just now."""
        return self._reviews.knows(read_bearer(credentials.authorization))

    def name_of(self, credentials: Credentials) -> str:
        """Return an empty string: a token's user is not known before its review."""
        return ""

    async def identify(self, credentials: Credentials) -> "TokenCaller | None":
        """Return the token's user; None if the token is invalid or for another audience."""
        token = read_bearer(credentials.authorization)
        review = await self._reviews.review(token) if token else None
        if review is None or not _judged(review).username:
            return None
        return TokenCaller(self, token, review)

    async def allows(self, name: str, token: str, access: Access) -> bool:
        """Return whether a token's user has the given access.

        Raises:
            Refusal: this cannot be decided now, or the user needs too many access reviews.
        """
        if not self._reviews.knows(token, access) and not self._questions.take(name):
            sentence = f"{name} needs too many access reviews; retry later"
            raise Refusal(Cause.RATE, 429, sentence, retry_seconds=5)
        return _judged(await self._reviews.review(token, access)).is_allowed


class TokenCaller:
    """A user of the cluster."""

    def __init__(self, tokens: Tokens, token: str, review: Review) -> None:
        self._tokens = tokens
        self._token = token
        self.name = review.username
        self.tenants = frozenset([review.account[0]] if review.account else ())

    async def may_be(self, tenant: str) -> bool:
        """Return whether it may act as a tenant: its own, or one whose access rules it may read."""
        if tenant in self.tenants:
            return True
        access = {"verb": "get", "group": _GROUP, "resource": _RESOURCE, "namespace": tenant}
        return await self._tokens.allows(self.name, self._token, access)

    async def may_read(self, path: str) -> bool:
        """Return whether it may read a page that shows all tenants: RBAC on the path decides."""
        return await self._tokens.allows(self.name, self._token, {"verb": "get", "path": path})


def _judged(review: Review) -> Review:
    if review.trouble:
        raise Refusal(Cause.CONTROL, 503, review.trouble, retry_seconds=5)
    return review

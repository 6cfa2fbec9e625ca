"""Callers by Kubernetes tokens of the gateway's audience.

A service account is the tenant of its own namespace. Who it may be besides, and whether it may read
the admin pages, is what RBAC says: `get metricaccesses` in a namespace, `get` of a path.
"""

from sidecar.auth.rates import TokenBuckets
from sidecar.auth.reviews import Access, Ask, Review, TokenReviews, read_bearer
from sidecar.gateway.callers.caller import Credentials
from sidecar.gateway.refusals import Cause, Refusal

AUDIENCE = "livery-gateway"
MAX_REMEMBERED = 5000
QUESTION_BURST, QUESTIONS_PER_SECOND = 100, 5
"""New questions of one user about what it may do; each is one to the API server."""
_GROUP, _RESOURCE = "observability.ethos.io", "metricaccesses"


class Tokens:
    """Knows users of the cluster.

    Args:
        ask: asks the control service.
    """

    wants = f"a Kubernetes token of audience {AUDIENCE}"
    challenge = 'Bearer realm="Livery"'

    def __init__(self, ask: Ask) -> None:
        self._reviews = TokenReviews(ask, audiences=(AUDIENCE,), remembered=MAX_REMEMBERED)
        self._questions: TokenBuckets[str] = TokenBuckets(QUESTION_BURST, QUESTIONS_PER_SECOND)

    def takes(self, credentials: Credentials) -> bool:
        """Tell whether there is a token."""
        return credentials.authorization[:7].lower() == "bearer "

    def knows(self, credentials: Credentials) -> bool:
        """Tell whether the token was good before."""
        return self._reviews.knows(read_bearer(credentials.authorization))

    def name_of(self, credentials: Credentials) -> str:
        """Return nothing: what a token says is not known before it is reviewed."""
        return ""

    async def identify(self, credentials: Credentials) -> "TokenCaller | None":
        """Return whose token it is; None for nobody's, or one of another audience."""
        token = read_bearer(credentials.authorization)
        review = await self._reviews.review(token) if token else None
        if review is None or not _judged(review).username:
            return None
        return TokenCaller(self, token, review)

    async def allows(self, name: str, token: str, access: Access) -> bool:
        """Tell whether a token's user may do something.

        Raises:
            Refusal: it cannot be found out now, or the user has others asked about too often.
        """
        if not self._reviews.knows(token, access) and not self._questions.take(name):
            sentence = f"{name} asks to be too many different tenants"
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
        """Tell whether it may be a tenant: its own namespace, or one whose rules it may read."""
        if tenant in self.tenants:
            return True
        access = {"verb": "get", "group": _GROUP, "resource": _RESOURCE, "namespace": tenant}
        return await self._tokens.allows(self.name, self._token, access)

    async def may_read(self, path: str) -> bool:
        """Tell whether it may read a page that shows all tenants: RBAC on the path says so."""
        return await self._tokens.allows(self.name, self._token, {"verb": "get", "path": path})


def _judged(review: Review) -> Review:
    if review.trouble:
        raise Refusal(Cause.CONTROL, 503, review.trouble, retry_seconds=5)
    return review

"""Authorization to scrape a node: for clients that may read its kubelet's metrics, or are listed.

The kubelet requires a token; a proxy in front of it without this check would expose its metrics.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sidecar.auth.reviews import Ask, Review, TokenReviews, read_bearer


class Refusal(NamedTuple):
    """Why a client may not scrape, as an HTTP status and a sentence."""

    status: int
    sentence: str


class TokenAuthorizer:
    """Authorizes requests by their bearer token.

    Args:
        ask: sends a token review to the control service.
        accounts: service accounts (`namespace/name`) that may scrape regardless of their RBAC.
        subresource: subresource of nodes that others must be allowed to `get`, as the kubelet does.
    """

    def __init__(self, ask: Ask, accounts: frozenset[str], subresource: str = "metrics") -> None:
        self._accounts = accounts
        self._subresource = subresource
        self._access = {"verb": "get", "resource": "nodes", "subresource": subresource}
        self._reviews = TokenReviews(ask, accepts=self._accepts)

    async def authorize(self, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused; None if it is allowed."""
        token = read_bearer(headers.get("authorization", ""))
        if not token:
            return Refusal(401, "a bearer token is required")
        review = await self._reviews.review(token, self._access)
        if review.trouble:
            return Refusal(503, review.trouble)
        if self._accepts(review):
            return None
        if not review.username:
            return Refusal(401, "the token is not valid")
        return Refusal(403, f"{review.username} may not get nodes/{self._subresource}")

    def _accepts(self, review: Review) -> bool:
        account = "/".join(review.account or ())
        return review.is_allowed or account in self._accounts

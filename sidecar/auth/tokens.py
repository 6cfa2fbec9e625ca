"""Who may scrape a node: whoever may read its kubelet's metrics, or is named.

The kubelet asks for a token; a proxy before it that asks nobody would open what it keeps.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sidecar.auth.reviews import Ask, Review, TokenReviews, read_bearer


class Refusal(NamedTuple):
    """Why somebody may not scrape, as an HTTP status and a sentence."""

    status: int
    sentence: str


class TokenAuthorizer:
    """Lets requests in by their bearer token.

    Args:
        ask: asks the control service whose a token is.
        accounts: service accounts (`namespace/name`) that may scrape whatever their rights.
        subresource: of nodes, what one must be allowed to get, as at the kubelet itself.
    """

    def __init__(self, ask: Ask, accounts: frozenset[str], subresource: str = "metrics") -> None:
        self._accounts = accounts
        self._subresource = subresource
        self._access = {"verb": "get", "resource": "nodes", "subresource": subresource}
        self._reviews = TokenReviews(ask, accepts=self._accepts)

    async def authorize(self, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is not let in; None where it is."""
        token = read_bearer(headers.get("authorization", ""))
        if not token:
            return Refusal(401, "a bearer token is needed")
        review = await self._reviews.review(token, self._access)
        if review.trouble:
            return Refusal(503, review.trouble)
        if self._accepts(review):
            return None
        if not review.username:
            return Refusal(401, "the token is not known")
        return Refusal(403, f"{review.username} may not get nodes/{self._subresource}")

    def _accepts(self, review: Review) -> bool:
        account = "/".join(review.account or ())
        return review.is_allowed or account in self._accounts

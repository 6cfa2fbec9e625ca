"""Who a proxy is. The token says it, never the request."""

from typing import NamedTuple, Protocol


class Caller(NamedTuple):
    """A pod that holds a token for the control service."""

    namespace: str
    pod: str
    uid: str
    service_account: str
    expires_at: float | None = None
    """Unix time after which the token counts no more; None where it does not say."""


class Authenticator(Protocol):
    """Turns a token into a caller: a folder of tokens, or the API server's TokenReview."""

    async def authenticate(self, token: str) -> Caller:
        """Return the token's pod.

        Raises:
            IdentityError: the token is not known, or belongs to no pod.
        """

    async def still_counts(self, token: str, caller: Caller) -> bool:
        """Tell whether an open stream may go on; asked before each of its messages."""

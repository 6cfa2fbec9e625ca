"""Who a proxy is. The token says it, never the request."""

from typing import NamedTuple, Protocol


class Caller(NamedTuple):
    """A pod that holds a token for the control service."""

    namespace: str
    pod: str
    uid: str
    service_account: str
    expires_at: float | None = None
    """Unix time after which the token is not valid; None where it does not say."""


class AccessAttributes(NamedTuple):
    """What somebody wants to do, as Kubernetes' authorization asks: a path, or a resource."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class TokenVerdict(NamedTuple):
    """What the API server says of a third party's token."""

    username: str
    """Empty where it knows no user of that token."""
    groups: tuple[str, ...]
    is_allowed: bool
    """Whether that user may do what was asked, if anything was."""
    valid_seconds: float = 0.0
    """How long the answer may be remembered."""


class Reviewer(Protocol):
    """Judges tokens of third parties: who asks a node proxy or a gateway."""

    async def review(
        self,
        token: str,
        access: AccessAttributes | None,
        peer: str,
        *,
        audiences: tuple[str, ...],
    ) -> TokenVerdict:
        """Return whose token it is, and whether that user may do something.

        Args:
            token: the token.
            access: what the user wants to do; None to be known only.
            peer: address of the proxy that asks.
            audiences: of which the token must be for one; without any it must be for the API
                server.

        Raises:
            IdentityError: 503, it cannot be judged now.
        """


class Authenticator(Protocol):
    """Turns a token into a caller: a folder of tokens, or the API server's TokenReview."""

    async def authenticate(self, token: str, peer: str) -> Caller:
        """Return the token's pod.

        Args:
            token: the token.
            peer: the client's address; the work that its tokens make is bounded.

        Raises:
            IdentityError: the token is not known, or belongs to no pod.
        """

    async def is_still_valid(self, token: str, caller: Caller) -> bool:
        """Tell whether an open stream may go on; asked before each of its messages."""

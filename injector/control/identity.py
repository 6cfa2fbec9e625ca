"""Identity of callers: it follows from the token only, never from the request."""

from typing import NamedTuple, Protocol


class Caller(NamedTuple):
    """A pod that holds a token for the control service."""

    namespace: str
    pod: str
    uid: str
    service_account: str
    expires_at: float | None = None
    """Unix time at which the token expires; None if unknown."""


class AccessAttributes(NamedTuple):
    """Attributes of an access check, as in a SubjectAccessReview: a path or a resource."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class TokenVerdict(NamedTuple):
    """The API server's verdict on a third party's token."""

    username: str
    """Empty if the token is not authenticated."""
    groups: tuple[str, ...]
    is_allowed: bool
    """Whether the user has the requested access; true for a known user if none was requested."""
    valid_seconds: float = 0.0
    """How long the verdict may be cached."""


class Reviewer(Protocol):
    """Verifies tokens of third parties: the clients of node proxies and gateways."""

    async def review(
        self,
        token: str,
        access: AccessAttributes | None,
        peer: str,
        *,
        audiences: tuple[str, ...],
    ) -> TokenVerdict:
        """Return the token's user, and whether the user has an access.

        Args:
            token: the token.
            access: the requested access; None to authenticate only.
            peer: address of the calling proxy.
            audiences: the token must be valid for at least one of them; if empty, for the API
                server.

        Raises:
            IdentityError: 503, the token cannot be verified now.
        """


class Authenticator(Protocol):
    """Maps tokens to callers, by a folder of tokens or the API server's TokenReview."""

    async def authenticate(self, token: str, peer: str) -> Caller:
        """Return the token's pod.

        Args:
            token: the token.
            peer: the client's address; the work that one address can cause is limited.

        Raises:
            IdentityError: the token is unknown, or does not belong to a pod.
        """

    async def is_still_valid(self, token: str, caller: Caller) -> bool:
        """Return whether an open stream may continue; called before each of its messages."""

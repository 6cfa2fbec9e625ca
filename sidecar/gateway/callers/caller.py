"""Callers and credentials, as every kind of authentication presents them."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Credentials(NamedTuple):
    """The parts of a request that can identify its sender."""

    headers: Mapping[str, str]
    """Values by lower-case header name."""
    peer: str
    """The client's address."""

    @property
    def authorization(self) -> str:
        """The Authorization header; empty if it is missing."""
        return self.headers.get("authorization", "")


class Caller(Protocol):
    """An authenticated client."""

    @property
    def name(self) -> str:
        """The name for logs and error messages."""

    @property
    def tenants(self) -> frozenset[str]:
        """Tenants that it may act as without an access review."""

    async def may_be(self, tenant: str) -> bool:
        """Return whether it may act as a tenant; raises Refusal if this cannot be decided now."""

    async def may_read(self, path: str) -> bool:
        """Return whether it may read a page that shows all tenants; raises like `may_be`."""


class Provider(Protocol):
    """Authenticates callers by one kind of credentials."""

    @property
    def wants(self) -> str:
        """The credentials that it accepts, for error messages."""

    @property
    def challenge(self) -> str:
        """Its challenge for the WWW-Authenticate header; empty for none."""

    def takes(self, credentials: Credentials) -> bool:
        """Return whether these credentials are of its kind."""

    def knows(self, credentials: Credentials) -> bool:
        """Return whether the credentials were checked before: only new ones are rate limited."""

    def name_of(self, credentials: Credentials) -> str:
        """Return the user that these credentials name; empty if there is no such user."""

    async def identify(self, credentials: Credentials) -> Caller | None:
        """Return the caller; None if unknown. Raises Refusal if this cannot be decided now."""


class KnownCaller(NamedTuple):
    """A caller whose rights are all known in advance."""

    name: str
    tenants: frozenset[str]
    is_admin: bool = False

    async def may_be(self, tenant: str) -> bool:
        """Return whether it may act as a tenant."""
        return tenant in self.tenants

    async def may_read(self, path: str) -> bool:
        """Return whether it may read a page that shows all tenants."""
        return self.is_admin

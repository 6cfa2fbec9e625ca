"""Who asks, as all kinds of credentials say it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Credentials(NamedTuple):
    """What a request says of who sent it."""

    headers: Mapping[str, str]
    """By names in lower case."""
    peer: str
    """The client's address."""

    @property
    def authorization(self) -> str:
        """The header of that name; empty where it is missing."""
        return self.headers.get("authorization", "")


class Caller(Protocol):
    """Somebody who is known."""

    @property
    def name(self) -> str:
        """How it is called in logs and sentences."""

    @property
    def tenants(self) -> frozenset[str]:
        """Tenants that it may be without anybody being asked."""

    async def may_be(self, tenant: str) -> bool:
        """Tell whether it may be a tenant; raises Refusal where that cannot be found out now."""

    async def may_read(self, path: str) -> bool:
        """Tell whether it may read a page that shows all tenants; raises like `may_be`."""


class Provider(Protocol):
    """Knows callers by one kind of credentials."""

    @property
    def wants(self) -> str:
        """What it knows people by, for a sentence."""

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate that asks for it; empty where there is none."""

    def takes(self, credentials: Credentials) -> bool:
        """Tell whether these credentials are of its kind."""

    def knows(self, credentials: Credentials) -> bool:
        """Tell without work whether they were right before."""

    def name_of(self, credentials: Credentials) -> str:
        """Return who these credentials say they are, if there is such a one; else nothing."""

    async def identify(self, credentials: Credentials) -> Caller | None:
        """Return who it is; None for nobody. Raises Refusal where that cannot be found out now."""


class KnownCaller(NamedTuple):
    """A caller of whom everything is known."""

    name: str
    tenants: frozenset[str]
    is_admin: bool = False

    async def may_be(self, tenant: str) -> bool:
        """Tell whether it may be a tenant."""
        return tenant in self.tenants

    async def may_read(self, path: str) -> bool:
        """Tell whether it may read a page that shows all tenants."""
        return self.is_admin

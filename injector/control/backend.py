"""What an injector is put together from, on a cluster or on a folder that plays one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from webhook_certs.rotation import Issuer

from injector.control.identity import Authenticator, Reviewer
from injector.control.proxies import Proxies
from injector.model.cluster.state import ClusterState


class Source(Protocol):
    """Keeps the cluster's state up to date."""

    def open(self) -> None:
        """Begin, with whatever can be had at once.

        Raises:
            SettingsError: there is nothing to read from.
        """

    def changes(self) -> AsyncIterator[None]:
        """Follow; yields whenever something was read."""

    def problems(self) -> Sequence[str]:
        """Say what cannot be used now, a sentence each."""

    def has_read(self) -> bool:
        """Tell whether the whole was read once: before, nobody can be told of it."""

    def unready(self) -> str:
        """Say why the state is not to be relied on; empty where it is."""


class PodsFollower(Protocol):
    """Follows whole pods where an aggregate wants them."""

    def following(self, namespaces: Sequence[str]) -> AbstractContextManager[None]:
        """Follow these namespaces' pods for as long as the block lasts; `*` for all."""

    async def listed(self, namespaces: Sequence[str]) -> str:
        """Wait until they are listed; returns why they are not, empty where they are."""

    def close(self) -> None:
        """Follow nothing any more."""


class Publisher(Protocol):
    """Tells the API server which CAs sign the webhook; its methods block."""

    def publish(self, bundle_pem: str) -> None:
        """Write the bundle where the API server looks.

        Raises:
            KubeError: it refused.
        """

    def is_published(self, bundle_pem: str) -> bool:
        """Tell whether the API server has exactly this bundle.

        Raises:
            KubeError: it did not say.
        """


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The cluster's state, its source, who knows callers, and where the CA is kept."""

    cluster: ClusterState
    source: Source
    authenticator: Authenticator
    reviewer: Reviewer | None = None
    """None where there is no API server to ask about third parties."""
    issuer: Callable[[Sequence[str]], Issuer]
    """Takes the names under which the injector is reached; gives who issues its certificate."""
    publisher: Publisher | None = None
    """None where nobody has to be told: there is no API server."""
    follow_address: Callable[[Callable[[str], None]], Awaitable[None]] | None = None
    """Follows the control service's address and gives each new one; None where it stays."""
    replica_account: str = ""
    """The service account of every replica, `namespace/name`; empty where there is but one."""
    follow_replicas: Callable[[Callable[[], str], Proxies], Awaitable[None]] | None = None
    """Takes what gives the CAs, and who keeps what the other replicas know; None for one."""
    pods: PodsFollower | None = None
    """None where all pods are known."""
    follow_pods: Callable[[Proxies], Awaitable[None]] | None = None
    """Looks, until cancelled, for pods whose proxies cannot do their work; None where none can."""
    write_status: Callable[[Proxies], Awaitable[None]] | None = None
    """Writes objects' status, until cancelled; None where nobody reads it."""
    troubles: Callable[[], Sequence[str]] = tuple
    """Says what it found, a sentence for each namespace and trouble."""
    background_tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    """What else runs until cancelled: objects' status, the Secret of the CA."""
    on_store_change: Callable[[Callable[[], None]], None] = lambda listener: None
    """Takes what to call when another changed what certificates are issued from."""

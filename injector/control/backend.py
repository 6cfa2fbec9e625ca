"""The parts of an injector, for a cluster or a folder of manifests."""

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
        """Start, and read what is available immediately.

        Raises:
            SettingsError: the source does not exist.
        """

    def changes(self) -> AsyncIterator[None]:
        """Follow the source; yield whenever something was read."""

    def problems(self) -> Sequence[str]:
        """Return what is failing now, one sentence each."""

    def has_read(self) -> bool:
        """Return whether everything was read once; until then no policy is served."""

    def unready(self) -> str:
        """Return why the state is not reliable; empty if it is."""


class PodsFollower(Protocol):
    """Follows whole Pod objects in the namespaces that aggregates need."""

    def following(self, namespaces: Sequence[str]) -> AbstractContextManager[None]:
        """Follow these namespaces' pods while the context is open; `*` for all."""

    async def listed(self, namespaces: Sequence[str]) -> str:
        """Wait until their pods are listed; return why they are not, empty if they are."""

    def close(self) -> None:
        """Stop following pods."""


class Publisher(Protocol):
    """Publishes the webhook's CAs to the API server; its methods block."""

    def publish(self, bundle_pem: str) -> None:
        """Write the bundle where the API server reads it.

        Raises:
            KubeError: the API server refused.
        """

    def is_published(self, bundle_pem: str) -> bool:
        """Return whether the API server has exactly this bundle.

        Raises:
            KubeError: the API server cannot be queried.
        """


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The cluster's state and source, caller authentication, and the certificate's issuer."""

    cluster: ClusterState
    source: Source
    authenticator: Authenticator
    reviewer: Reviewer | None = None
    """None if there is no API server to verify third parties' tokens."""
    issuer: Callable[[Sequence[str]], Issuer]
    """Takes the injector's names and addresses; returns the issuer of its certificate."""
    publisher: Publisher | None = None
    """None if the CA is not published, for example without an API server."""
    follow_address: Callable[[Callable[[str], None]], Awaitable[None]] | None = None
    """Follows the control service's address and passes on each new one; None if it is fixed."""
    replica_account: str = ""
    """The service account of every replica, `namespace/name`; empty if there is only one."""
    follow_replicas: Callable[[Callable[[], str], Proxies], Awaitable[None]] | None = None
    """Takes a function that returns the CAs, and `Proxies` to update; None for a single replica."""
    pods: PodsFollower | None = None
    """None if all pods are known already."""
    follow_pods: Callable[[Proxies], Awaitable[None]] | None = None
    """Checks, until cancelled, for pods with a missing or failing proxy; None without a cluster."""
    write_status: Callable[[Proxies], Awaitable[None]] | None = None
    """Writes objects' status until cancelled; None if no status is written."""
    troubles: Callable[[], Sequence[str]] = tuple
    """Returns the problems found by background tasks, one sentence each."""
    background_tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    """Other tasks that run until cancelled, such as following the Secret of the CA."""
    on_store_change: Callable[[Callable[[], None]], None] = lambda listener: None
    """Registers a callback for changes to the stored CA or certificate."""

"""Receivers build policies from the stream's messages; each role has its own."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

P = TypeVar("P")


class Received(NamedTuple, Generic[P]):
    """A usable policy."""

    policy: P
    ignored: tuple[str, ...]
    """Paths of fields and keys that this proxy does not know."""
    problems: tuple[str, ...]
    """Parts that cannot be used, one sentence each; the rest is active."""


class PolicyReceiver(Protocol[P]):
    """Builds policies from messages."""

    def begin(self) -> None:
        """Start a new connection."""

    def forget(self) -> None:
        """Treat the next policy as the first one: the last one may not be active."""

    def take(self, kind: str, message: Mapping[str, object]) -> "Received[P] | None":
        """Process a message; returns a policy if the message completes one.

        Raises:
            PolicyError: the policy cannot be used; the last one stays active.
        """

"""What makes policies of the stream's messages; each role has its own."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

P = TypeVar("P")


class Received(NamedTuple, Generic[P]):
    """A policy that can be used."""

    policy: P
    ignored: tuple[str, ...]
    """Paths of fields and keys that this proxy does not know."""
    problems: tuple[str, ...]
    """What of it cannot be used, a sentence each; the rest is active."""


class PolicyReceiver(Protocol[P]):
    """Makes policies of messages."""

    def begin(self) -> None:
        """Start a new connection."""

    def forget(self) -> None:
        """Take the next policy as if none had been applied: the last one may not be active."""

    def take(self, kind: str, message: Mapping[str, object]) -> "Received[P] | None":
        """Take a message; returns a policy where it completes one.

        Raises:
            PolicyError: the policy cannot be used; the last one stays.
        """

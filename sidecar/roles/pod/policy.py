"""A pod's policy from the stream: each message holds the whole policy."""

from collections.abc import Mapping

from sidecar.control.receivers import Received
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.pod import PodPolicy, parse_pod_policy


class PodPolicyReceiver:
    """Receives a pod's policy.

    Args:
        last: the policy that is active at startup; None if there is none.
        reads_access: whether access rules are compiled; only a proxy that filters needs them.
    """

    def __init__(self, last: PodPolicy | None, *, reads_access: bool) -> None:
        self._last = last
        self._reads_access = reads_access

    def begin(self) -> None:
        """Do nothing for a new connection: each message holds the whole policy."""

    def forget(self) -> None:
        """Do nothing: each message holds the whole policy."""

    def take(self, kind: str, message: Mapping[str, object]) -> Received[PodPolicy] | None:
        """Process a message; returns the policy if it holds one.

        Raises:
            PolicyError: the policy cannot be used; the last one stays active.
        """
        if kind != "policy":
            return None
        reader = DocumentReader(Origin.STREAM)
        self._last = parse_pod_policy(
            message.get("policy"), reader, last=self._last, reads_access=self._reads_access
        )
        return Received(self._last, tuple(reader.ignored), tuple(reader.problems))

"""A pod's policy from the stream: each message is the whole of it."""

from collections.abc import Mapping

from sidecar.control.receivers import Received
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.pod import PodPolicy, parse_pod_policy


class PodPolicyReceiver:
    """Receives a pod's policy.

    Args:
        last: the policy that is active at the start; None where there is none.
        reads_access: whether access rules are compiled; a proxy that does not filter need not.
    """

    def __init__(self, last: PodPolicy | None, *, reads_access: bool) -> None:
        self._last = last
        self._reads_access = reads_access

    def begin(self) -> None:
        """Start a new connection: each message stands alone."""

    def forget(self) -> None:
        """Do nothing: each message holds the whole policy."""

    def take(self, kind: str, message: Mapping[str, object]) -> Received[PodPolicy] | None:
        """Take a message; returns a policy where it is one.

        Raises:
            PolicyError: the policy cannot be used; the last one stays.
        """
        if kind != "policy":
            return None
        reader = DocumentReader(Origin.STREAM)
        self._last = parse_pod_policy(
            message.get("policy"), reader, last=self._last, reads_access=self._reads_access
        )
        return Received(self._last, tuple(reader.ignored), tuple(reader.problems))

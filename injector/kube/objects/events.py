"""Events on pods that asked for a proxy and run without one.

Written here, never at admission: a dry run leaves none. The name is the pod's own, so that of all
replicas one writes it, and the API server forgets it after an hour.
"""

import logging
from datetime import UTC, datetime

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.model.admission.outcomes import Reason

logger = logging.getLogger(__name__)

_REMEDY = "it was made while no injector answered, or before its namespace was labelled; restart it"
_TOLD = frozenset(
    [Reason.INJECTED, Reason.HOST_NETWORK, Reason.LIMIT_RANGE, Reason.NO_TARGET, Reason.WINDOWS]
)


class PodEvents:
    """Writes them; a failure is logged and counts for nothing else."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def write(self, namespace: str, pod: str, uid: str, reason: Reason) -> None:
        """Tell a pod's owner, once, why it has no proxy.

        Args:
            namespace: the pod's.
            pod: its name.
            uid: its uid.
            reason: what would be decided about it now.
        """
        if reason not in _TOLD:
            return
        why = _REMEDY if reason is Reason.INJECTED else reason.sentence
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {"name": f"{pod[:200]}.{uid[:8]}.livery", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": uid,
            },
            "type": "Warning",
            "reason": "NoProxy",
            "message": f"The pod asked for a Livery proxy and has none: {why}.",
            "source": {"component": "livery-injector"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }  # fmt: skip
        try:
            self._client.request("POST", f"/api/v1/namespaces/{namespace}/events", body=body)
        except KubeError as error:
            if error.status != 409:  # another replica was faster
                logger.info("an event cannot be written", extra={"reason": str(error)})

"""Events on pods that have no proxy, or whose proxy does not work.

Written here, never at admission, so that a dry run creates none. An event's name is derived from
the pod's, so that only one replica creates it; the API server deletes it after an hour.
"""

import logging
from datetime import UTC, datetime

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from injector.model.admission.outcomes import Reason
from injector.model.admission.troubles import Trouble

logger = logging.getLogger(__name__)

_NO_PROXY = "The pod asked for a Livery proxy and has none: {}."
_MISSED = (
    "it was created while no injector answered, or before its namespace was labelled; restart it"
)
_TOLD = frozenset([Reason.HOST_NETWORK, Reason.LIMIT_RANGE, Reason.NO_TARGET, Reason.WINDOWS])
_EVENTS = {
    Trouble.MISSING: ("NoProxy", _NO_PROXY.format(_MISSED)),
    Trouble.DRIFTED: (
        "ProxyBypassed",
        "The pod's prometheus.io/ annotations make Prometheus bypass its Livery proxy: they were "
        "reset to the manifest's own values. `livery doctor` prints the command that fixes it.",
    ),
    Trouble.CUT_OFF: (
        "ProxyCutOff",
        "The pod's Livery proxy has no stream to the control service, so its series keep their "
        "last labels. Its log says why; `livery doctor` checks NetworkPolicies and CAs.",
    ),
}
"""An event's reason and message, by trouble."""


class PodEvents:
    """Writes the events; a failure is logged and has no other effect."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def write(self, namespace: str, pod: str, uid: str, found: Trouble | Reason) -> None:
        """Write an event about what is wrong with a pod, once; none if nothing is.

        Args:
            namespace: the pod's.
            pod: its name.
            uid: its uid.
            found: the trouble, or what admission would decide about it now.
        """
        if isinstance(found, Trouble):
            kind, message = _EVENTS[found]
        elif found in _TOLD:
            kind, message = "NoProxy", _NO_PROXY.format(found.sentence)
        else:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"{pod[:200]}.{uid[:8]}.{kind.lower()}"
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": uid,
            },
            "type": "Warning",
            "reason": kind,
            "message": message,
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

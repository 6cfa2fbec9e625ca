"""Leader election by a Lease: the replica that holds it writes objects' status.

Source: https://kubernetes.io/docs/concepts/architecture/leases/
"""

import logging
import time
from datetime import UTC, datetime

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient

logger = logging.getLogger(__name__)

DURATION_SECONDS = 15
RENEW_SECONDS = 5.0


class Lease:
    """A Lease that the chart creates; its methods block."""

    def __init__(self, client: KubeClient, namespace: str, name: str, holder: str) -> None:
        self._client = client
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"
        self._holder = holder
        self._seen = ("", 0.0)
        """Another holder's last `renewTime`, and when this replica first saw it: clocks differ."""
        self.is_held = False

    def renew(self) -> bool:
        """Acquire or renew the Lease; returns whether it is held.

        Raises:
            KubeError: a request failed; the Lease is not held then.
        """
        self.is_held = False
        lease = self._client.request("GET", self._path)
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder not in ("", self._holder) and not self._is_over(str(spec.get("renewTime", ""))):
            return False
        try:
            self._client.request("PUT", self._path, body=self._taken(lease, holder))
        except KubeError as error:
            if error.status == 409:
                return False  # another replica was faster
            raise
        if holder != self._holder:
            logger.info("this replica now writes the status of objects")
        self.is_held = True
        return True

    def release(self) -> None:
        """Release the Lease at shutdown, so that another replica need not wait."""
        if self.is_held:
            self.is_held = False
            lease = self._client.request("GET", self._path)
            spec = lease.get("spec") or {}
            if spec.get("holderIdentity") == self._holder:
                lease["spec"] = {**spec, "holderIdentity": ""}
                self._client.request("PUT", self._path, body=lease)

    def _is_over(self, renewed: str) -> bool:
        if self._seen[0] != renewed:
            self._seen = (renewed, time.monotonic())
        return time.monotonic() - self._seen[1] > DURATION_SECONDS

    def _taken(self, lease: JsonObject, holder: str) -> JsonObject:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(lease.get("spec") or {})
        if holder != self._holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec |= {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
        }
        return {**lease, "spec": spec}

"""The control service's ClusterIP, followed: a Service that is made anew has another."""

import asyncio
import logging
from collections.abc import Callable

from injector.errors import KubeError
from injector.kube.api.client import KubeClient

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0


class ServiceAddress:
    """Knows the address, so that pods with a DNS of their own find the service.

    Args:
        client: the cluster.
        namespace: the Service's.
        name: the Service's.
    """

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/services/{name}"
        self.current = ""
        """The last one that is known; empty where the Service has none."""

    def read(self) -> str:
        """Ask for the address and keep it; blocks.

        Raises:
            KubeError: the API server does not say.
        """
        service = self._client.request("GET", self._path)
        address = str((service.get("spec") or {}).get("clusterIP", ""))
        self.current = "" if address == "None" else address
        return self.current

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Call with every new address, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            before = self.current
            try:
                address = await asyncio.to_thread(self.read)
            except KubeError as error:
                logger.info("the Service cannot be read", extra={"reason": str(error)})
                continue
            if address != before:
                logger.warning("the control service has another address", extra={"now": address})
                changed(address)

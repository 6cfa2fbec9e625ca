"""Polls the control service's ClusterIP, which changes when the Service is recreated."""

import asyncio
import logging
from collections.abc import Callable

from injector.errors import KubeError
from injector.kube.api.client import KubeClient

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0


class ServiceAddress:
    """Keeps the current address, so that pods with their own DNS settings reach the service.

    Args:
        client: the cluster.
        namespace: the Service's.
        name: the Service's.
    """

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/services/{name}"
        self.current = ""
        """The last known address; empty if the Service has none."""

    def read(self) -> str:
        """Read the address and keep it; blocks.

        Raises:
            KubeError: the request failed.
        """
        service = self._client.request("GET", self._path)
        address = str((service.get("spec") or {}).get("clusterIP", ""))
        self.current = "" if address == "None" else address
        return self.current

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with every new address, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            before = self.current
            try:
                address = await asyncio.to_thread(self.read)
            except KubeError as error:
                logger.info("the Service cannot be read", extra={"reason": str(error)})
                continue
            if address != before:
                logger.warning("the control service's address has changed", extra={"now": address})
                changed(address)

"""Writes the status of MetricAccess objects, by one replica, where it is not as it must be."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from injector.errors import KubeError
from injector.kube.client import APPLY, KubeClient
from injector.kube.lease import RENEW_SECONDS, Lease
from injector.model.judgement import judge_namespace
from injector.model.metricaccess import API_VERSION
from injector.model.object_status import build_status
from injector.model.settings import Platform
from injector.model.world import Key, World

logger = logging.getLogger(__name__)

MANAGER = "livery-status"
LOOK_SECONDS = 1.0


class StatusWriter:
    """Keeps the status of every object as this replica's world says.

    Args:
        client: the cluster.
        world: its objects.
        present: the status that each has now.
        platform: the platform's settings, which grant.
        lease: held by the replica that writes.
    """

    def __init__(
        self,
        client: KubeClient,
        world: World,
        present: Mapping[Key, Mapping[str, Any]],
        *,
        platform: Platform,
        lease: Lease,
    ) -> None:
        self._client = client
        self._world = world
        self._platform = platform
        self._lease = lease
        self._changed: set[str] = set()
        self._present = present
        world.listeners.append(self._changed.add)

    async def run(self) -> None:
        """Write until cancelled."""
        renewed = float("-inf")
        loop = asyncio.get_running_loop()
        try:
            while True:
                if loop.time() - renewed >= RENEW_SECONDS:
                    was_held = self._lease.is_held
                    await self._renew()
                    renewed = loop.time()
                    if self._lease.is_held and not was_held:
                        self._changed.update(self._world.namespaces_with("MetricAccess"))
                if self._lease.is_held and self._changed:
                    await self._write(self._changed.pop())
                else:
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            await asyncio.to_thread(self._release)

    async def _renew(self) -> None:
        try:
            await asyncio.to_thread(self._lease.renew)
        except KubeError as error:
            logger.warning("the lease cannot be renewed", extra={"reason": str(error)})

    def _release(self) -> None:
        try:
            self._lease.release()
        except KubeError as error:
            logger.info("the lease was not given up", extra={"reason": str(error)})

    async def _write(self, namespace: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for judged in judge_namespace(self._world, namespace, self._platform):
            before = self._present.get(Key("MetricAccess", namespace, judged.name), {})
            status = build_status(judged, before, now)
            if status == before:
                continue
            try:
                await asyncio.to_thread(self._apply, namespace, judged.name, status)
            except KubeError as error:
                if error.status == 404:
                    continue  # it went away
                self._changed.add(namespace)
                extra = {"namespace": namespace, "object": judged.name, "reason": str(error)}
                logger.warning("a status cannot be written; trying again", extra=extra)
                await asyncio.sleep(LOOK_SECONDS)
                return

    def _apply(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        path = f"/apis/{API_VERSION}/namespaces/{namespace}/metricaccesses/{name}/status"
        body = {
            "apiVersion": API_VERSION,
            "kind": "MetricAccess",
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        self._client.request("PATCH", path, query=query, body=body, content_type=APPLY)

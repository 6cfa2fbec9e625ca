"""Keeps the status of MetricAccess objects up to date; only one replica writes it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from injector.errors import KubeError
from injector.kube.api.client import APPLY, KubeClient
from injector.kube.api.lease import RENEW_SECONDS, Lease
from injector.model.access.sending import NOTHING_SENT, ObjectName, SendingFacts
from injector.model.access.status import build_status
from injector.model.access.verdicts import judge_namespace
from injector.model.cluster.objects import Object
from injector.model.cluster.state import ClusterState, Key
from injector.platform.settings import Platform
from sidecar.model.access.objects import API_VERSION

logger = logging.getLogger(__name__)

MANAGER = "livery-status"
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 150.0
"""Time within which senders report to a new replica."""
SENDING_SECONDS = 30.0
"""How often the status of forwarding is updated."""


class StatusWriter:
    """Keeps the status of every MetricAccess object up to date.

    Args:
        client: the cluster.
        cluster: the cluster state with the objects.
        present: the current status of each object.
        platform: the platform's settings, with its grants.
        lease: held by the replica that writes.
        is_listed: returns whether all resources were listed.
        sending: returns the state of forwarding, by object.
    """

    def __init__(
        self,
        client: KubeClient,
        cluster: ClusterState,
        present: Mapping[Key, Mapping[str, Any]],
        *,
        platform: Platform,
        lease: Lease,
        is_listed: Callable[[], bool],
        sending: Callable[[], Mapping[ObjectName, SendingFacts]] = dict,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._platform = platform
        self._lease = lease
        self._is_listed = is_listed
        self._sending = sending
        self._facts: Mapping[ObjectName, SendingFacts] = {}
        self._started_at = time.monotonic()
        self._looked_at = float("-inf")
        self._renewed_at = float("-inf")
        self._changed: set[str] = set()
        self._present = present
        cluster.listeners.append(self._changed.add)

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                self._look_at_sending()
                if await self._holds() and self._changed:
                    await self._write(self._changed.pop())
                else:
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            await asyncio.to_thread(self._release)

    @property
    def _is_new(self) -> bool:
        return time.monotonic() - self._started_at < PATIENCE_SECONDS

    def _look_at_sending(self) -> None:
        """Periodically schedule a status update of namespaces with objects that forward."""
        if time.monotonic() - self._looked_at >= SENDING_SECONDS:
            self._looked_at = time.monotonic()
            self._facts = self._sending()
            self._changed.update(
                namespace
                for namespace in self._cluster.namespaces_with("MetricAccess")
                if any(map(_sends, self._cluster.in_namespace("MetricAccess", namespace)))
            )

    async def _holds(self) -> bool:
        """Tell whether this replica writes; renews the lease when that is due."""
        if not self._is_listed():
            return False  # a grant that is not known yet would be reported as refused
        if time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            was_held = self._lease.is_held
            try:
                await asyncio.to_thread(self._lease.renew)
            except KubeError as error:
                logger.warning("the lease cannot be renewed", extra={"reason": str(error)})
            self._renewed_at = time.monotonic()
            if self._lease.is_held and not was_held:
                self._changed.update(self._cluster.namespaces_with("MetricAccess"))
        return self._lease.is_held

    def _release(self) -> None:
        try:
            self._lease.release()
        except KubeError as error:
            logger.info("the lease could not be released", extra={"reason": str(error)})

    async def _write(self, namespace: str) -> None:
        now = _write_time(time.time())
        for verdict in judge_namespace(self._cluster, namespace, self._platform):
            before = self._present.get(Key("MetricAccess", namespace, verdict.name), {})
            facts = self._facts.get((namespace, verdict.name), NOTHING_SENT)
            sends = verdict.forwarding.rule is not None
            if sends and before and self._is_new and not facts.senders:
                continue  # senders may not have reported to this replica yet
            sent_at = _write_time(facts.last_sent_at) if facts.last_sent_at else ""
            status = build_status(verdict, before, now, facts, sent_at=sent_at)
            if status == before:
                continue
            if not await self._holds():
                self._changed.add(namespace)
                return
            try:
                await asyncio.to_thread(self._apply, namespace, verdict.name, status)
            except KubeError as error:
                if error.status == 404:
                    continue  # it was deleted
                self._changed.add(namespace)
                extra = {"namespace": namespace, "object": verdict.name, "reason": str(error)}
                logger.warning("a status cannot be written; retrying", extra=extra)
                await asyncio.sleep(LOOK_SECONDS)

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


def _write_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sends(obj: Object) -> bool:
    spec = obj.get("spec")
    return isinstance(spec, dict) and bool(spec.get("remoteWrite"))

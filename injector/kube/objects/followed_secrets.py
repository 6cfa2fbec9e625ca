"""Polls the Secrets that MetricAccess objects name: a watch would need more permissions."""

import asyncio
import logging
from collections.abc import Iterator

from injector.errors import KubeError, ObjectError
from injector.kube.api.client import JsonObject, KubeClient
from injector.model.access.metricaccess import parse_metric_access
from injector.model.access.receivers import secrets_of
from injector.model.cluster.names import REMOTE_WRITE_HOSTS
from injector.model.cluster.objects import Object
from injector.model.cluster.state import ClusterState, Key
from injector.platform.settings import RemoteWriteSettings

logger = logging.getLogger(__name__)

RENEW_SECONDS = 45.0
"""Poll interval: a changed or deleted Secret takes effect within a minute."""
GATHER_SECONDS = 0.5
"""Object changes within this time are coalesced into one read of the Secrets."""
MAX_SECRETS = 50
"""Secrets per namespace."""
_FORBIDDEN = 403
"""Reading the Secret is not, or no longer, allowed."""
_METADATA = ("name", "namespace", "uid", "resourceVersion")


class FollowedSecrets:
    """Keeps the Secrets that MetricAccess objects name in the cluster state.

    Args:
        client: the cluster.
        cluster: the cluster state with the objects; receives the Secrets.
        settings: list the namespaces whose Secrets may be read.
    """

    def __init__(
        self, client: KubeClient, cluster: ClusterState, settings: RemoteWriteSettings
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._namespaces = frozenset(settings.secret_namespaces)
        self._read: set[Key] = set()
        """Secrets that are in the cluster state."""
        self._missing: set[Key] = set()
        self._errors: dict[Key, str] = {}
        self._changed = asyncio.Event()
        cluster.listeners.append(self._note)

    async def follow(self) -> None:
        """Read the Secrets until cancelled: soon after an object changed, else at the interval."""
        while True:
            self._changed.clear()
            await self._read_all()
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._changed.wait()
                await asyncio.sleep(GATHER_SECONDS)
            except TimeoutError:
                continue

    def troubles(self) -> list[str]:
        """Return the errors of Secrets that cannot be read now."""
        return [
            f"Secret {key.name} of {key.namespace}: {error}"
            for key, error in sorted(self._errors.items())
        ]

    def _note(self, namespace: str) -> None:
        if namespace in self._namespaces and self._wanted() != (
            self._read | self._missing | self._errors.keys()
        ):
            self._changed.set()

    async def _read_all(self) -> None:
        wanted = self._wanted()
        self._missing &= wanted
        for key in self._read - wanted:
            self._forget(key)
        for key in list(self._errors):
            if key not in wanted:
                del self._errors[key]
        for key in sorted(wanted):
            try:
                found = await asyncio.to_thread(self._get, key)
            except KubeError as error:
                self._fail(key, error)
            else:
                self._errors.pop(key, None)
                self._missing.discard(key)
                self._read.add(key)
                self._cluster.put("Secret", found)

    def _fail(self, key: Key, error: KubeError) -> None:
        if error.status == 404:
            self._errors.pop(key, None)
            self._missing.add(key)
            self._forget(key)
            return
        if error.status == _FORBIDDEN:
            self._forget(key)
        # Otherwise the last content stays: the API server may be unavailable.
        if self._errors.get(key) != str(error):
            extra = {"secret": key.name, "namespace": key.namespace, "reason": str(error)}
            logger.warning("a Secret cannot be read", extra=extra)
        self._errors[key] = str(error)

    def _forget(self, key: Key) -> None:
        self._read.discard(key)
        self._cluster.remove(key)

    def _get(self, key: Key) -> JsonObject:
        path = f"/api/v1/namespaces/{key.namespace}/secrets/{key.name}"
        return keep_secret(self._client.request("GET", path))

    def _wanted(self) -> set[Key]:
        found: set[Key] = set()
        for namespace in self._namespaces:
            names = {
                secret
                for name, _ in self._cluster.named("MetricAccess", namespace)
                for secret in self._named_by(Key("MetricAccess", namespace, name))
            }
            found |= {Key("Secret", namespace, name) for name in sorted(names)[:MAX_SECRETS]}
        return found

    def _named_by(self, key: Key) -> Iterator[str]:
        try:
            access = self._cluster.derive(key, parse_metric_access)
        except ObjectError:
            return
        yield from secrets_of(access)


def keep_secret(obj: Object) -> JsonObject:
    """Reduce a Secret to what is used; kubectl copies its values into an annotation, too."""
    metadata = obj["metadata"]
    kept = {name: metadata[name] for name in _METADATA if name in metadata}
    hosts = (metadata.get("annotations") or {}).get(REMOTE_WRITE_HOSTS, "")
    kept["annotations"] = {REMOTE_WRITE_HOSTS: hosts}
    return {"metadata": kept, "data": obj.get("data") or {}}

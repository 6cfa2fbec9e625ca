"""Watches the pods of some or all namespaces and, if wanted, the namespaces' labels."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sidecar.errors import PodsError
from sidecar.model.pods.scraped_pod import ScrapedPod, parse_scraped_pod
from sidecar.pods.api import ApiClient, Json
from sidecar.pods.watch import Watch

_ACCOUNT = re.compile(r'User "system:serviceaccount:([^:"]{1,253}):([^:"]{1,253})"')
_UNAUTHORIZED, _FORBIDDEN = 401, 403


class KubernetesPods:
    """Watches pods at an API server.

    Args:
        client: the API server.
        namespaces: the namespaces to watch; empty for all.
        selector: a label selector for pods.
        wants_labels: whether namespaces' labels are watched, too.
        on_change: called after each change.
    """

    def __init__(
        self,
        client: ApiClient,
        namespaces: Sequence[str],
        selector: str,
        *,
        wants_labels: bool,
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        paths = [f"/api/v1/namespaces/{name}/pods" for name in namespaces] or ["/api/v1/pods"]
        self._watches = [
            Watch(
                client,
                path,
                selection={"labelSelector": selector},
                parse=_parse_pod,
                on_change=on_change,
            )
            for path in paths
        ]
        chosen = [f"metadata.name={name}" for name in namespaces] or [""]
        self._labels = [
            Watch(
                client,
                "/api/v1/namespaces",
                selection={"fieldSelector": name},
                parse=_parse_labels,
                on_change=on_change,
            )
            for name in (chosen if wants_labels else [])
        ]
        self._namespaces = namespaces
        self._all: list[Watch[Any]] = [*self._watches, *self._labels]

    @property
    def is_listed(self) -> bool:
        """Whether every list succeeded or is forbidden, and at least one list of pods succeeded."""
        settled = all(watch.is_listed or watch.status == _FORBIDDEN for watch in self._all)
        return settled and any(watch.is_listed for watch in self._watches)

    @property
    def pods(self) -> list[ScrapedPod]:
        """The pods that are known now."""
        return [pod for watch in self._watches for pod in watch.objects.values()]

    @property
    def namespace_labels(self) -> dict[str, Mapping[str, str]]:
        """The labels of each namespace."""
        return {name: labels for watch in self._labels for name, labels in watch.objects.values()}

    @property
    def age_seconds(self) -> float:
        """How old the state may be, because the API server is unavailable."""
        return max(watch.age_seconds for watch in self._all)

    @property
    def failures(self) -> int:
        """Number of failed lists and watches."""
        return sum(watch.failures for watch in self._all)

    def error(self) -> str:
        """Return why pods cannot be watched now, and what to do; empty if they can."""
        kinds: tuple[tuple[str, Sequence[Watch[Any]]], ...] = (
            ("pods", self._watches),
            ("namespaces", self._labels),
        )
        for what, watches in kinds:
            scopes = self._namespaces if what == "pods" and self._namespaces else [""]
            failing = [watch for watch in watches if watch.error]
            if not failing:
                continue
            forbidden = [
                scope
                for scope, watch in zip(scopes, watches, strict=False)
                if watch.status == _FORBIDDEN
            ]
            return failing[0].error + _hint(what, failing[0].status, failing[0].error, forbidden)
        return ""

    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the background tasks of the watches; each runs until cancelled."""
        return [watch.run for watch in self._all]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _hint(what: str, status: int, error: str, forbidden: Sequence[str]) -> str:
    """Return the fix, with commands for each forbidden namespace (empty name: cluster-wide)."""
    if status == _UNAUTHORIZED:
        return "; the token or certificate is invalid or has expired: create a new one"
    if status != _FORBIDDEN:
        return ""
    found = _ACCOUNT.search(error)
    account = f"--serviceaccount={found[1]}:{found[2]}" if found else "--user=NAME"
    name = f"livery-{what}-{found[2]}" if found else f"livery-{what}"
    commands = []
    for namespace in forbidden:
        kind = "role" if namespace else "clusterrole"
        scope = f" -n {namespace}" if namespace else ""
        commands += [
            f"kubectl create {kind} {name} --verb=list,watch --resource={what}{scope}",
            f"kubectl create {kind}binding {name} --{kind}={name} {account}{scope}",
        ]
    return f"; grant list and watch on {what}: {'; '.join(commands)}"


def _parse_pod(obj: Json) -> ScrapedPod:
    return parse_scraped_pod(obj, "pod")


def _parse_labels(obj: Json) -> tuple[str, Mapping[str, str]]:
    metadata = obj.get("metadata")
    name, labels = (
        (metadata.get("name"), metadata.get("labels") or {})
        if isinstance(metadata, dict)
        else (0, 0)
    )
    if not isinstance(name, str) or not isinstance(labels, dict):
        raise PodsError("a namespace has no name, or its labels are not a mapping")
    return name, {str(key): str(text) for key, text in labels.items()}

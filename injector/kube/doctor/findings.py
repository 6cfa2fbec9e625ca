"""The findings of checks, the installation that is checked, and reads that checks share."""

from collections.abc import Callable
from typing import NamedTuple

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.platform.settings import Platform

MAX_PODS = 20_000
"""Pods checked per namespace; a finding says so if there are more."""
PULL_FAILURES = frozenset(["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
"""Waiting reasons of a container whose image cannot be pulled."""
_PAGE = 500


class Finding(NamedTuple):
    """The result of one check."""

    is_well: bool
    sentence: str
    remedy: str = ""
    """A command that fixes it, or what to check."""


class Installation(NamedTuple):
    """The installation to check."""

    namespace: str
    name: str
    """Name of the Helm release."""
    read_platform: Callable[[str, str], Platform]
    """Parses settings; takes YAML and a name for errors, raises SettingsError."""

    @property
    def injector(self) -> str:
        """Name of the injector's Deployment, Service and service account."""
        return f"{self.name[:50].rstrip('-')}-injector"  # truncated as in the chart

    @property
    def install(self) -> str:
        """The command that installs it."""
        return (
            f"helm install {self.name} charts/livery -n {self.namespace} --create-namespace "
            "--set image.registry=REGISTRY    # where your nodes pull from"
        )

    @property
    def upgrade(self) -> str:
        """The command that restores the chart's objects and keeps the user's values."""
        return (
            f"helm upgrade {self.name} charts/livery -n {self.namespace} --reset-then-reuse-values"
        )

    def reapply(self, *settings: str) -> str:
        """Return the command that restores the chart's objects, with Helm or without it.

        Args:
            settings: values of the chart to set, such as `crds.enabled=true`.
        """
        sets = "".join(f" --set {setting}" for setting in settings)
        first = "set it in charts/livery/values.yaml, make installer, then " if sets else ""
        return f"{self.upgrade}{sets}    # without Helm: {first}kubectl apply -f install.yaml"

    @property
    def scale(self) -> str:
        """The command that scales the injector up again."""
        return f"kubectl -n {self.namespace} scale deployment/{self.injector} --replicas=2"

    @property
    def log(self) -> str:
        """The command that shows the injector's log."""
        selector = f"app.kubernetes.io/component=injector,app.kubernetes.io/instance={self.name}"
        return f"kubectl -n {self.namespace} logs -l {selector} --tail=50 --prefix"


def find(client: KubeClient, path: str) -> JsonObject | None:
    """Return an object; None if it or its kind does not exist.

    Raises:
        KubeError: the request failed.
    """
    try:
        return client.request("GET", path)
    except KubeError as error:
        if error.status == 404:
            return None
        raise


def find_all(client: KubeClient, path: str, most: int, **query: str) -> list[JsonObject]:
    """Return the objects of a collection, read in pages; empty if the kind does not exist.

    Args:
        client: the cluster.
        path: of the collection.
        most: after how many no further page is read.
        query: selectors.

    Raises:
        KubeError: a request failed.
    """
    found: list[JsonObject] = []
    asked = {"limit": str(_PAGE), **query}
    while len(found) < most:
        try:
            page = client.request("GET", path, query=asked)
        except KubeError as error:
            if error.status == 404:
                break
            raise
        found += page.get("items") or []
        following = (page.get("metadata") or {}).get("continue")
        if not following:
            break
        asked["continue"] = str(following)
    return found

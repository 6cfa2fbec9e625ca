"""What a look ends in, and what it is about."""

from collections.abc import Callable
from typing import NamedTuple

from injector.errors import KubeError
from injector.kube.api.client import JsonObject, KubeClient
from injector.platform.settings import Platform

MAX_PODS = 20_000
"""Of one namespace; more are not looked at, and said to be."""
PULL_FAILURES = frozenset(["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
"""Why a container waits for its image."""
_PAGE = 500


class Finding(NamedTuple):
    """One thing that was looked at."""

    is_well: bool
    sentence: str
    remedy: str = ""
    """A command, or what to look at."""


class Installation(NamedTuple):
    """Which installation is meant."""

    namespace: str
    name: str
    """The Helm release's."""
    read_platform: Callable[[str, str], Platform]
    """Reads settings in YAML, and their name for errors; raises SettingsError."""

    @property
    def injector(self) -> str:
        """Name of its Deployment, its Service and its service account."""
        return f"{self.name[:50].rstrip('-')}-injector"  # as the chart cuts it

    @property
    def install(self) -> str:
        """The command that installs it."""
        return (
            f"helm install {self.name} charts/livery -n {self.namespace} --create-namespace "
            "--set image.registry=REGISTRY    # where your nodes pull from"
        )

    @property
    def upgrade(self) -> str:
        """The command that puts the chart's objects back, and keeps the user's values."""
        return (
            f"helm upgrade {self.name} charts/livery -n {self.namespace} --reset-then-reuse-values"
        )

    def reapply(self, *settings: str) -> str:
        """Return the command that puts objects back, by Helm or without it.

        Args:
            settings: values of the chart to set, such as `crds.enabled=true`.
        """
        sets = "".join(f" --set {setting}" for setting in settings)
        first = "set it in charts/livery/values.yaml, make installer, then " if sets else ""
        return f"{self.upgrade}{sets}    # without Helm: {first}kubectl apply -f install.yaml"

    @property
    def scale(self) -> str:
        """The command that runs the injector again."""
        return f"kubectl -n {self.namespace} scale deployment/{self.injector} --replicas=2"

    @property
    def log(self) -> str:
        """The command that shows what the injector says."""
        selector = f"app.kubernetes.io/component=injector,app.kubernetes.io/instance={self.name}"
        return f"kubectl -n {self.namespace} logs -l {selector} --tail=50 --prefix"


def find(client: KubeClient, path: str) -> JsonObject | None:
    """Return an object, None where there is none, or no such kind.

    Raises:
        KubeError: the API server does not say.
    """
    try:
        return client.request("GET", path)
    except KubeError as error:
        if error.status == 404:
            return None
        raise


def find_all(client: KubeClient, path: str, most: int, **query: str) -> list[JsonObject]:
    """Return the objects of a collection, in pages; none where there is no such kind.

    Args:
        client: the cluster.
        path: of the collection.
        most: about how many at most.
        query: selectors.

    Raises:
        KubeError: the API server does not say.
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

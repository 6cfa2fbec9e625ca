"""Pods of the namespaces that an aggregate needs, watched on a real API server."""

import asyncio
from collections.abc import Iterator

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.objects import followed_pods
from injector.kube.objects.followed_pods import FollowedPods, keep_pod
from injector.model.cluster.state import ClusterState
from tests.cluster.fixtures import Namespace, make_namespace
from tests.sidecar.apps import until
from tests.sidecar.model.pods.test_scraped_pod import raw_pod

pytestmark = pytest.mark.anyio


@pytest.fixture
def cluster() -> ClusterState:
    return ClusterState()


@pytest.fixture
def followed(client: KubeClient, cluster: ClusterState) -> Iterator[FollowedPods]:
    made = FollowedPods(client, cluster)
    yield made
    made.close()


def _names(cluster: ClusterState, namespace: Namespace) -> list[str]:
    return [name for name, _ in cluster.named("Pod", namespace.name)]


async def test_a_namespaces_pods_are_there_once_it_is_listed_and_are_followed(
    client: KubeClient, namespace: Namespace, cluster: ClusterState, followed: FollowedPods
) -> None:
    namespace.pod("web-0")
    with followed.following([namespace.name]):
        assert await followed.listed([namespace.name]) == ""
        assert _names(cluster, namespace) == ["web-0"]
        await asyncio.to_thread(namespace.pod, "web-1")
        await until(lambda: _names(cluster, namespace) == ["web-0", "web-1"])
        path = f"{namespace.path}/pods/web-0"
        await asyncio.to_thread(client.request, "DELETE", path, query={"gracePeriodSeconds": "0"})
        await until(lambda: _names(cluster, namespace) == ["web-1"])


async def test_pods_that_nobody_asked_for_are_not_read(
    client: KubeClient, namespace: Namespace, cluster: ClusterState, followed: FollowedPods
) -> None:
    other = make_namespace(client, "other")
    other.pod("db-0")

    assert await followed.listed([namespace.name]) == ""
    assert _names(cluster, other) == []
    assert await followed.listed(["*"]) == ""
    assert _names(cluster, other) == ["db-0"]


async def test_pods_are_forgotten_when_nobody_has_wanted_them_for_a_while(
    namespace: Namespace,
    cluster: ClusterState,
    followed: FollowedPods,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followed_pods, "LINGER_SECONDS", 0.3)
    namespace.pod("web-0")
    with followed.following([namespace.name]):
        await followed.listed([namespace.name])
        await asyncio.sleep(0.6)
        assert _names(cluster, namespace) == ["web-0"]
    await until(lambda: _names(cluster, namespace) == [])

    with followed.following([namespace.name]):
        assert await followed.listed([namespace.name]) == ""
        assert _names(cluster, namespace) == ["web-0"]


async def test_a_list_that_does_not_come_is_said_to_be_missing(
    followed: FollowedPods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_pods, "LIST_SECONDS", 0.2)

    reason = await followed.listed(["no/such"])  # a path that the API server does not know

    assert reason.startswith("the pods of no/such have not been listed yet")


def test_what_is_kept_of_a_pod_is_what_its_scraper_reads() -> None:
    kept = keep_pod(raw_pod())

    assert kept is not None
    assert set(kept) == {"metadata", "spec", "status"}
    assert keep_pod(raw_pod(status__phase="Failed")) is None
    assert keep_pod(raw_pod(spec={"containers": 5})) is None

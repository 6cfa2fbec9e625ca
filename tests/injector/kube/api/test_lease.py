import time

import pytest

from injector.errors import KubeError
from injector.kube.api import lease as module
from injector.kube.api.client import KubeClient
from injector.kube.api.lease import Lease
from tests.cluster.fixtures import Namespace


@pytest.fixture
def replicas(client: KubeClient, namespace: Namespace) -> tuple[Lease, Lease]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace.name}/leases"
    client.request("POST", path, body={"metadata": {"name": "status"}})
    first, second = (Lease(client, namespace.name, "status", name) for name in ("a", "b"))
    return first, second


def test_one_replica_holds_it_until_it_gives_it_up(replicas: tuple[Lease, Lease]) -> None:
    first, second = replicas
    assert first.renew()
    assert not second.renew()
    assert first.renew()
    second.release()
    assert not second.renew()
    first.release()

    assert second.renew()
    assert not first.renew()


def test_a_replica_that_is_gone_loses_it_in_time(
    replicas: tuple[Lease, Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = replicas
    assert first.renew()
    assert not second.renew()
    monkeypatch.setattr(module, "DURATION_SECONDS", 1)

    deadline = time.monotonic() + 20
    while not second.renew():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lease_that_is_not_there_is_not_held(client: KubeClient, namespace: Namespace) -> None:
    lease = Lease(client, namespace.name, "none", "a")
    with pytest.raises(KubeError):
        lease.renew()
    assert not lease.is_held
    lease.release()

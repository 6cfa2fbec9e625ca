import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from injector.kube.client import KubeClient
from tests.real_parts.kubernetes import (
    ApiServer,
    etcd_program,
    kube_apiserver_program,
    running_api_server,
)
from tests.real_parts.presence import have

_NUMBERS = itertools.count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server, one for the tests of a process; each test has namespaces of its own."""
    have(etcd_program)
    have(kube_apiserver_program)
    with running_api_server(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def client(api_server: ApiServer) -> KubeClient:
    """The administrator's client."""
    return api_server.client()


class Namespace:
    """A namespace of a test, and what the test does in it."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self.client = client
        self.name = name

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.name}"

    def label(self, **labels: str | None) -> None:
        """Set labels, None takes one away: `kubectl label namespace`."""
        self.client.request(
            "PATCH", self.path, body={"metadata": {"labels": labels}},
            content_type="application/merge-patch+json",
        )  # fmt: skip

    def create(self, kind: str, name: str, **fields: Any) -> dict[str, Any]:
        """Create an object of the core group, such as `pods`."""
        metadata = {"name": name, **fields.pop("metadata", {})}
        body = {"metadata": metadata, **fields}
        return self.client.request("POST", f"{self.path}/{kind}", body=body)

    def pod(self, name: str, **annotations: str) -> dict[str, Any]:
        """Create a pod that nobody runs."""
        containers = [{"name": "web", "image": "registry.example/web:1"}]
        spec = {"containers": containers, "serviceAccountName": "default"}
        return self.create("pods", name, metadata={"annotations": annotations}, spec=spec)

    def token(self, account: str, *, audience: str = "livery-control", pod: str = "") -> str:
        """Ask for a token, as the kubelet does for a pod."""
        spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 600}
        if pod:
            uid = self.client.request("GET", f"{self.path}/pods/{pod}")["metadata"]["uid"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
        answer = self.client.request(
            "POST", f"{self.path}/serviceaccounts/{account}/token", body={"spec": spec}
        )
        return str(answer["status"]["token"])


@pytest.fixture
def namespace(client: KubeClient) -> Namespace:
    """A new namespace, with the default account that a controller would make."""
    made = make_namespace(client, "test")
    made.create("serviceaccounts", "default")
    return made


def make_namespace(client: KubeClient, prefix: str) -> Namespace:
    """Create a namespace whose name nobody has."""
    body = {"metadata": {"generateName": f"{prefix}-{next(_NUMBERS)}-"}}
    name = client.request("POST", "/api/v1/namespaces", body=body)["metadata"]["name"]
    return Namespace(client, str(name))

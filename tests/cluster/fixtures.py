import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from kubernetes.client import Configuration

from injector.errors import KubeError
from injector.kube.api.client import KubeClient
from tests.real_parts.chart import REGISTRY
from tests.real_parts.kubernetes import (
    ApiServer,
    etcd_program,
    helm_program,
    kube_apiserver_program,
    running_api_server,
)
from tests.real_parts.presence import have

_NUMBERS = itertools.count()
CHART = Path(__file__).parents[2] / "charts" / "livery"


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server for all tests of a process; each test has its own namespaces."""
    have(etcd_program)
    have(kube_apiserver_program)
    with running_api_server(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def client(api_server: ApiServer) -> KubeClient:
    """The administrator's client."""
    return api_server.client()


class Namespace:
    """A test's namespace, and the test's operations in it."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self.client = client
        self.name = name

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.name}"

    def label(self, **labels: str | None) -> None:
        """Set labels, or remove those that are None, as `kubectl label namespace` does."""
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
        """Create a pod that no kubelet runs."""
        containers = [{"name": "web", "image": "registry.example/web:1"}]
        spec = {"containers": containers, "serviceAccountName": "default"}
        return self.create("pods", name, metadata={"annotations": annotations}, spec=spec)

    def token(self, account: str, *, audience: str = "livery-control", pod: str = "") -> str:
        """Request a token, as the kubelet does for a pod."""
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
    """A new namespace."""
    return make_namespace(client, "test")


class Release(NamedTuple):
    """The chart, installed by Helm; no kubelet runs its pods."""

    name: str
    own: Namespace
    kubeconfig: Path

    def helm(self, *arguments: str) -> str:
        """Run helm for this release's namespace; returns its output."""
        if arguments[0] in {"install", "upgrade"}:
            arguments = (*arguments[:3], *REGISTRY, *arguments[3:])
        ran = subprocess.run(
            [helm_program(), "--kubeconfig", self.kubeconfig, "-n", self.own.name, *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def injector_client(self) -> KubeClient:
        """Connect as the injector's service account, with the chart's RBAC."""
        administrator = yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["cluster"]
        account = f"{self.name}-injector"
        token = self.own.token(account, audience="https://kubernetes.default.svc")
        configuration = Configuration(
            host=administrator["server"],
            ssl_ca_cert=administrator["certificate-authority"],
            api_key={"BearerToken": f"Bearer {token}"},
        )
        return KubeClient(configuration)


CRD_PATH = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/metricaccesses.observability.ethos.io"
)


@pytest.fixture
def release(api_server: ApiServer, client: KubeClient) -> Iterator[Release]:
    """The chart, installed."""
    with installed_chart(api_server, client) as made:
        yield made


@contextmanager
def installed_chart(
    api_server: ApiServer, client: KubeClient, *arguments: str, chart: Path = CHART
) -> Iterator[Release]:
    """Install the chart in a new namespace under a unique name, and uninstall it afterwards."""
    have(helm_program)
    own = make_namespace(client, "livery")
    installed = Release(f"livery-{next(_NUMBERS)}", own, api_server.kubeconfig)
    installed.helm("install", installed.name, str(chart), *arguments)
    try:
        yield installed
    finally:
        installed.helm("uninstall", installed.name)
        with suppress(KubeError):
            client.request("DELETE", CRD_PATH)
        until(lambda: not _is_there(client, CRD_PATH))


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait in a synchronous test until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def _is_there(client: KubeClient, path: str) -> bool:
    try:
        client.request("GET", path)
    except KubeError as error:
        return error.status != 404
    return True


def make_namespace(
    client: KubeClient, prefix: str, labels: Mapping[str, str] | None = None
) -> Namespace:
    """Create a uniquely named namespace, with the account that a controller would create."""
    metadata = {"generateName": f"{prefix}-{next(_NUMBERS)}-", "labels": dict(labels or {})}
    body = {"metadata": metadata}
    name = client.request("POST", "/api/v1/namespaces", body=body)["metadata"]["name"]
    made = Namespace(client, str(name))
    made.create("serviceaccounts", "default")
    return made

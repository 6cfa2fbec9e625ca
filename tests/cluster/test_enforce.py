"""`enforce.enabled`: nobody sends Prometheus past a proxy that is there."""

import itertools
from collections.abc import Iterator

import pytest

from injector.errors import KubeError
from injector.kube.api.client import MERGE, JsonObject, KubeClient
from tests.cluster.fixtures import Namespace, installed_chart, make_namespace, until
from tests.real_parts.kubernetes import ApiServer

PROXY = {"livery.dev/proxy": "pod"}


@pytest.fixture(scope="module")
def shop(api_server: ApiServer) -> Iterator[Namespace]:
    """A namespace with a pod that has a proxy and one that has none, where edits are judged."""
    client = api_server.client()
    values = ("--set", "enforce.enabled=true")
    with installed_chart(api_server, client, *values):
        made = make_namespace(client, "shop")
        for name, labels in (("web", PROXY), ("plain", {})):
            annotations = {"prometheus.io/port": "16090"}
            spec = {"containers": [{"name": "web", "image": "web:1"}]}
            metadata = {"labels": labels, "annotations": annotations}
            made.create("pods", name, metadata=metadata, spec=spec)
        # Another port each time: one that the pod has already would be no edit.
        ports = itertools.count(1)
        until(lambda: bool(_edit(client, made, "web", _port(next(ports)))))
        yield made


def _port(port: int) -> JsonObject:
    return {"annotations": {"prometheus.io/port": str(port)}}


def _edit(client: KubeClient, shop: Namespace, pod: str, metadata: JsonObject) -> str:
    """Edit a pod; returns why not, empty where it was edited."""
    path = f"{shop.path}/pods/{pod}"
    try:
        client.request("PATCH", path, body={"metadata": metadata}, content_type=MERGE)
    except KubeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"prometheus.io/port": "8080"}},
        {"annotations": {"prometheus.io/port": None}},
        {"annotations": {"prometheus.io/path": "/other"}},
        {"annotations": {"prometheus_io_port": "8080"}},
        {"annotations": {"livery.dev/status": "{}"}},
        {"labels": {"livery.dev/proxy": None}},
        {"labels": {"livery.dev/proxy": "node"}},
    ],
)
def test_an_edit_that_leads_past_the_proxy_is_refused(
    client: KubeClient, shop: Namespace, metadata: JsonObject
) -> None:
    assert "go through its Livery proxy" in _edit(client, shop, "web", metadata)


@pytest.mark.parametrize(
    ("pod", "metadata"),
    [
        ("web", {"annotations": {"note": "x"}}),
        ("web", {"labels": {"a": "b"}}),
        ("plain", {"annotations": {"prometheus.io/port": "1"}}),
    ],
)
def test_any_other_edit_is_none_of_its_business(
    client: KubeClient, shop: Namespace, pod: str, metadata: JsonObject
) -> None:
    assert _edit(client, shop, pod, metadata) == ""

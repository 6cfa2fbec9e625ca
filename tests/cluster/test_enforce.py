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
    values = ("--set", "enforce.enabled=true,enforce.optOut=refuse,image.registry=ghcr.io/livery")
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


@pytest.fixture(scope="module")
def judged(shop: Namespace) -> Namespace:
    """A namespace that asks for injection, where new pods are judged."""
    made = make_namespace(shop.client, "judged", {"livery.dev/inject": "enabled"})
    until(lambda: bool(_create(made, labels=PROXY)))
    return made


IMAGE = "ghcr.io/livery/livery-sidecar"
STATUS = {"livery.dev/status": "{}", "prometheus.io/port": "16090"}


def _proxy(**fields: object) -> JsonObject:
    ports = [{"name": "livery", "containerPort": 16090}]
    return {"name": "livery-proxy", "image": f"{IMAGE}:0.1.0", "ports": ports, **fields}


def _create(
    namespace: Namespace,
    *containers: JsonObject,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> str:
    """Create a pod as a dry run; returns why not, empty where it would have been created."""
    spec = {"containers": [{"name": "web", "image": "web:1"}, *containers]}
    metadata = {"name": "new", "labels": labels or {}, "annotations": annotations or {}}
    body = {"metadata": metadata, "spec": spec}
    try:
        namespace.client.request(
            "POST", f"{namespace.path}/pods", query={"dryRun": "All"}, body=body
        )
    except KubeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("containers", "labels", "annotations", "says"),
    [
        ([_proxy(image="evil:1")], PROXY, STATUS, "is not Livery's image"),
        ([_proxy(image=f"{IMAGE}-evil:1")], PROXY, STATUS, "is not Livery's image"),
        ([_proxy(image=f"evil/{IMAGE}:1")], PROXY, STATUS, "is not Livery's image"),
        ([], PROXY, {}, "has no container livery-proxy"),
        ([], {}, STATUS, "has no container livery-proxy"),
        ([_proxy()], {}, STATUS, "lead past it"),
        ([_proxy()], PROXY, {**STATUS, "prometheus.io/port": "8080"}, "lead past it"),
        ([_proxy()], PROXY, {**STATUS, "prometheus_io_port": "16090"}, "lead past it"),
        ([_proxy(ports=[])], PROXY, STATUS, "lead past it"),
        ([], {}, {"livery.dev/inject": "false", "prometheus.io/scrape": "true"}, "forbids"),
        ([], {}, {"livery.dev/inject": "false", "prometheus.io/scrape-slow": "true"}, "forbids"),
    ],
)
def test_a_new_pod_that_pretends_to_have_a_proxy_is_refused(
    judged: Namespace,
    containers: list[JsonObject],
    labels: dict[str, str],
    annotations: dict[str, str],
    says: str,
) -> None:
    assert says in _create(judged, *containers, labels=labels, annotations=annotations)


@pytest.mark.parametrize(
    ("containers", "labels", "annotations"),
    [
        ([], {}, {"prometheus.io/scrape": "true"}),
        ([], {}, {"livery.dev/inject": "true"}),
        ([], {}, {"livery.dev/inject": "false"}),
        ([], {"livery.dev/proxy": "node"}, {}),
        ([_proxy()], PROXY, STATUS),
        ([_proxy(image=f"{IMAGE}@sha256:{'a' * 64}")], PROXY, STATUS),
    ],
)
def test_a_pod_that_an_absent_webhook_missed_and_one_that_livery_injected_start(
    judged: Namespace,
    containers: list[JsonObject],
    labels: dict[str, str],
    annotations: dict[str, str],
) -> None:
    assert _create(judged, *containers, labels=labels, annotations=annotations) == ""


def test_a_namespace_that_asks_for_nothing_is_not_judged(shop: Namespace) -> None:
    assert _create(shop, _proxy(image="own:1")) == ""

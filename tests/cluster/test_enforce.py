"""`enforce.enabled`: nobody can make Prometheus bypass an existing proxy."""

import itertools
from collections.abc import Iterator

import pytest

from injector.errors import KubeError
from injector.kube.api.client import MERGE, JsonObject, KubeClient
from injector.model.admission.decide import decide
from injector.model.admission.inject import patch
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.settings import ControlAddress, Platform
from tests.cluster.fixtures import Namespace, installed_chart, make_namespace, until
from tests.cluster.versions import needs_validating_policies
from tests.real_parts.kubernetes import ApiServer

PROXY = {"livery.dev/proxy": "pod"}
RELEASED: list[tuple[str, str]] = []
"""The release whose policies apply, and its namespace."""
_NUMBERS = itertools.count()
pytestmark = needs_validating_policies


@pytest.fixture(scope="module")
def shop(api_server: ApiServer) -> Iterator[Namespace]:
    """A namespace with one pod with a proxy and one without, where policies check edits."""
    client = api_server.client()
    values = (
        "--set",
        "enforce.enabled=true,enforce.optOut=refuse,image.registry=registry.example/livery",
    )
    with installed_chart(api_server, client, *values) as release:
        RELEASED.append((release.name, release.own.name))
        made = make_namespace(client, "shop")
        for name, labels in (("web", PROXY), ("plain", {})):
            annotations = {"prometheus.io/port": "16090"}
            spec = {"containers": [{"name": "web", "image": "web:1"}]}
            metadata = {"labels": labels, "annotations": annotations}
            made.create("pods", name, metadata=metadata, spec=spec)
        # A new port each time: setting the current port would not be an edit.
        ports = itertools.count(1)
        until(lambda: bool(_edit(client, made, "web", _port(next(ports)))))
        yield made


def _port(port: int) -> JsonObject:
    return {"annotations": {"prometheus.io/port": str(port)}}


def _edit(client: KubeClient, shop: Namespace, pod: str, metadata: JsonObject) -> str:
    """Edit a pod; returns the refusal, empty if the edit succeeded."""
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
    """A namespace with injection enabled, where policies check new pods."""
    made = make_namespace(shop.client, "judged", {"livery.dev/inject": "enabled"})
    until(lambda: bool(_create(made, labels=PROXY)))
    return made


IMAGE = "registry.example/livery/livery-sidecar"
STATUS = {"livery.dev/status": "{}", "prometheus.io/port": "16090"}


def _injected() -> JsonObject:
    """Return what the webhook would write."""
    platform = Platform(image=f"{IMAGE}:0.1.0", control=_control())
    pod = {
        "metadata": {"name": "new", "annotations": {names.INJECT: "true"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    decision = decide(pod, "judged", ClusterState(), platform)
    operations = patch(pod, decision, platform, "CA")
    (container,) = [item["value"] for item in operations if "initContainers/" in item["path"]]
    return dict(container)


def _control() -> ControlAddress:
    release, own = RELEASED[-1]
    return ControlAddress(url=f"https://{release}-injector.{own}.svc:8444", address="10.0.0.7")


def _proxy(**fields: object) -> JsonObject:
    container = {key: value for key, value in _injected().items() if key != "restartPolicy"}
    return {**container, "volumeMounts": [], **fields}


def _variables(**changed: str) -> list[JsonObject]:
    given = {item["name"]: item for item in _injected()["env"]}
    made = {name: {"name": name, "value": value} for name, value in changed.items()}
    return [*{**given, **made}.values()]


def _made(fields: JsonObject) -> JsonObject:
    """The webhook's container with fields changed; `env` may be one variable to set."""
    variable = fields.get("env")
    if isinstance(variable, tuple):
        return _proxy(**{**fields, "env": _variables(**{variable[0]: variable[1]})})
    return _proxy(**fields)


def _create(
    namespace: Namespace,
    *containers: JsonObject,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> str:
    """Create a pod as a dry run; returns the refusal, empty if the pod is admitted."""
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
        ([{"image": "evil:1"}], PROXY, STATUS, "does not use Livery's image"),
        ([{"image": f"{IMAGE}-evil:1"}], PROXY, STATUS, "does not use Livery's image"),
        ([{"image": f"evil/{IMAGE}:1"}], PROXY, STATUS, "does not use Livery's image"),
        ([], PROXY, {}, "has no container livery-proxy"),
        ([], {}, STATUS, "has no container livery-proxy"),
        ([{}], {}, STATUS, "do not point Prometheus at it"),
        ([{}], PROXY, {**STATUS, "prometheus.io/port": "8080"}, "do not point Prometheus at it"),
        ([{}], PROXY, {**STATUS, "prometheus_io_port": "16090"}, "do not point Prometheus at it"),
        ([{"ports": []}], PROXY, STATUS, "do not point Prometheus at it"),
        ([{"command": ["sh"]}], PROXY, STATUS, "was not written by Livery"),
        ([{"args": ["--role", "pod", "--policy", "/x"]}], PROXY, STATUS, "not written by Livery"),
        ([{"args": ["--role", "pod", "--policy=/x"]}], PROXY, STATUS, "not written by Livery"),
        ([{"env": []}], PROXY, STATUS, "was not written by Livery"),
        ([{"env": ("LIVERY_CONTROL_URL", "https://x")}], PROXY, STATUS, "not written by Livery"),
        ([{"env": ("LIVERY_POLICY", "/x")}], PROXY, STATUS, "was not written by Livery"),
        ([{"envFrom": [{"configMapRef": {"name": "x"}}]}], PROXY, STATUS, "not written by Livery"),
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
    made = [_made(fields) for fields in containers]

    assert says in _create(judged, *made, labels=labels, annotations=annotations)


@pytest.mark.parametrize(
    ("containers", "labels", "annotations"),
    [
        ([], {}, {"prometheus.io/scrape": "true"}),
        ([], {}, {"livery.dev/inject": "true"}),
        ([], {}, {"livery.dev/inject": "false"}),
        ([], {"livery.dev/proxy": "node"}, {}),
        ([{}], PROXY, STATUS),
        ([{"image": f"{IMAGE}@sha256:{'a' * 64}"}], PROXY, STATUS),
    ],
)
def test_a_pod_that_an_absent_webhook_missed_and_one_that_livery_injected_start(
    judged: Namespace,
    containers: list[JsonObject],
    labels: dict[str, str],
    annotations: dict[str, str],
) -> None:
    made = [_made(fields) for fields in containers]

    assert _create(judged, *made, labels=labels, annotations=annotations) == ""


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"labels": PROXY}, "has no container livery-proxy"),
        ({"annotations": {"livery.dev/status": "{}"}}, "has no container livery-proxy"),
        ({"annotations": {"prometheus.io/scrape": "true"}}, "which the platform forbids"),
        ({"annotations": {"note": "x"}}, ""),
        ({"labels": {"a": "b"}}, ""),
    ],
)
def test_a_pod_that_begins_to_pretend_is_refused(
    client: KubeClient, judged: Namespace, metadata: JsonObject, says: str
) -> None:
    name = f"quiet-{next(_NUMBERS)}"
    spec = {"containers": [{"name": "web", "image": "web:1"}]}
    judged.create("pods", name, metadata={"annotations": {"a": "b"}}, spec=spec)

    found = _edit(client, judged, name, metadata)

    assert says in found if says else found == ""


def test_a_pod_that_was_missed_may_be_annotated_further(
    client: KubeClient, judged: Namespace
) -> None:
    judged.pod("missed", **{"prometheus.io/scrape": "true"})

    assert _edit(client, judged, "missed", {"annotations": {"prometheus.io/port": "1"}}) == ""


def test_a_namespace_that_asks_for_nothing_is_not_judged(shop: Namespace) -> None:
    assert _create(shop, _made({"image": "own:1"})) == ""

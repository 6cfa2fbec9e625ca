"""Events on pods without a proxy, written to a real API server."""

from typing import Any

import pytest

from injector.kube.api.client import KubeClient
from injector.kube.objects.events import PodEvents
from injector.model.admission.outcomes import Reason
from injector.model.admission.troubles import Trouble
from tests.cluster.fixtures import Namespace

UID = "0f1e2d3c-0000-4000-8000-000000000000"


def _events(namespace: Namespace) -> list[dict[str, Any]]:
    found = namespace.client.request("GET", f"/api/v1/namespaces/{namespace.name}/events")
    return list(found["items"])


def test_of_all_replicas_one_tells_a_pods_owner(client: KubeClient, namespace: Namespace) -> None:
    for _ in range(2):
        PodEvents(client).write(namespace.name, "web-0", UID, Reason.NO_TARGET)
    (event,) = _events(namespace)

    assert (event["type"], event["reason"]) == ("Warning", "NoProxy")
    assert event["involvedObject"]["uid"] == UID
    assert Reason.NO_TARGET.sentence in event["message"]


def test_a_new_pod_of_the_same_name_is_told_of_anew(
    client: KubeClient, namespace: Namespace
) -> None:
    for uid in (UID, UID[::-1]):
        PodEvents(client).write(namespace.name, "web-0", uid, Trouble.MISSING)

    assert len(_events(namespace)) == 2
    assert all("restart it" in event["message"] for event in _events(namespace))


def test_each_trouble_of_a_pod_is_an_event_of_its_own(
    client: KubeClient, namespace: Namespace
) -> None:
    for trouble in Trouble:
        PodEvents(client).write(namespace.name, "web-0", UID, trouble)
    reasons = {event["reason"] for event in _events(namespace)}

    assert reasons == {"NoProxy", "ProxyBypassed", "ProxyCutOff"}


@pytest.mark.parametrize(
    "reason", [Reason.INJECTED, Reason.OPTED_OUT, Reason.NOT_ANNOTATED, Reason.MIRROR_POD]
)
def test_who_asked_for_no_proxy_is_told_nothing(
    client: KubeClient, namespace: Namespace, reason: Reason
) -> None:
    PodEvents(client).write(namespace.name, "web-0", UID, reason)

    assert _events(namespace) == []


@pytest.mark.parametrize("name", ["a" * 253, f"{'a' * 199}-{'b' * 20}", f"{'a' * 199}.{'b' * 20}"])
def test_a_pod_with_a_long_name_is_told_too(
    client: KubeClient, namespace: Namespace, name: str
) -> None:
    PodEvents(client).write(namespace.name, name, UID, Reason.WINDOWS)
    (event,) = _events(namespace)

    assert event["involvedObject"]["name"] == name


def test_an_event_that_cannot_be_written_stops_nothing(
    client: KubeClient, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        PodEvents(client).write(f"{namespace.name}-gone", "web-0", UID, Reason.NO_TARGET)

    assert [record.message for record in caplog.records if record.name.endswith("events")] == [
        "an event cannot be written"
    ]

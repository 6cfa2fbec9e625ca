from typing import Any

import pytest

from injector.errors import ObjectError
from injector.model.cluster.backends import backend_urls
from injector.platform.settings import BackendDiscovery, BackendKind

_METADATA = {"name": "prometheus", "namespace": "monitoring", "annotations": {"tier": "one"}}


def _service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": _METADATA, "spec": {"ports": list(ports)}}


def _pod(**status: Any) -> dict[str, Any]:
    ready = {"podIP": "fd00::7", "conditions": [{"type": "Ready", "status": "True"}]}
    ports = [{"name": "web", "containerPort": 9090}, {"name": "reloader", "containerPort": 8080}]
    spec = {"containers": [{"name": "prometheus", "ports": ports}]}
    return {"metadata": _METADATA, "spec": spec, "status": {**ready, **status}}


_SLICE = {
    "metadata": _METADATA,
    "addressType": "IPv4",
    "ports": [{"name": "web", "port": 9090}],
    "endpoints": [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        {"addresses": ["10.0.0.3"], "conditions": {}},
        {"addresses": []},
    ],
}


def _urls(obj: dict[str, Any], kind: BackendKind = BackendKind.SERVICE, **more: Any) -> list[str]:
    return backend_urls(obj, BackendDiscovery(kind=kind, **more))


def test_a_service_is_asked_by_its_name() -> None:
    service = _service({"name": "x", "port": 1}, {"name": "web", "port": 80})

    assert _urls(service) == ["http://prometheus.monitoring.svc:80"]
    assert _urls(service, scheme="https", path="/prometheus") == [
        "https://prometheus.monitoring.svc:80/prometheus"
    ]


@pytest.mark.parametrize(
    ("ports", "wanted", "found"),
    [
        ([{"port": 1}], "", 1),
        ([{"name": "a", "port": 9090}, {"name": "b", "port": 2}], "", 9090),
        ([{"name": "a", "port": 9090}, {"name": "http-web", "port": 2}], "", 2),
        ([{"name": "a", "port": 1}, {"name": "b", "port": 2}], "", 0),
        ([{"name": "a", "port": 1}, {"name": "b", "port": 2}], "b", 2),
        ([{"name": "a", "port": 1}], "b", 0),
        ([{"name": "a", "port": 1}], "19090", 19090),
        ([{"name": "a", "port": "1"}], "", 0),
        ([], "", 0),
    ],
)
def test_the_port_is_the_named_one_or_the_one_that_looks_like_prometheus(
    ports: list[dict[str, Any]], wanted: str, found: int
) -> None:
    expected = [f"http://prometheus.monitoring.svc:{found}"] if found else []
    assert _urls(_service(*ports), port=wanted) == expected


@pytest.mark.parametrize(
    ("status", "urls"),
    [
        ({}, ["http://[fd00::7]:9090"]),
        ({"podIP": "10.0.0.1"}, ["http://10.0.0.1:9090"]),
        ({"podIP": ""}, []),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, []),
        ({"conditions": []}, []),
    ],
)
def test_a_pod_is_asked_while_it_is_ready(status: dict[str, Any], urls: list[str]) -> None:
    assert _urls(_pod(**status), BackendKind.POD) == urls


def test_a_pod_that_ends_is_not_asked() -> None:
    pod = _pod()
    pod["metadata"] = {**_METADATA, "deletionTimestamp": "2026-11-28T00:00:00Z"}

    assert _urls(pod, BackendKind.POD) == []


def test_endpoints_are_asked_unless_they_are_not_ready() -> None:
    kind = BackendKind.ENDPOINT_SLICE

    assert _urls(_SLICE, kind) == ["http://10.0.0.1:9090", "http://10.0.0.3:9090"]
    assert _urls({**_SLICE, "addressType": "FQDN"}, kind) == []
    assert _urls(_SLICE, kind, port="grpc") == []


def test_what_lacks_an_annotation_leads_nowhere() -> None:
    assert _urls(_service({"port": 1}), annotations={"tier": "one"})
    assert not _urls(_service({"port": 1}), annotations={"tier": "two"})


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (BackendKind.SERVICE, {"metadata": _METADATA, "spec": {"ports": [7]}}),
        (BackendKind.POD, {"metadata": _METADATA, "status": []}),
        (BackendKind.ENDPOINT_SLICE, {**_SLICE, "endpoints": [{"addresses": "10.0.0.1"}]}),
    ],
)
def test_what_is_malformed_is_named(kind: BackendKind, obj: dict[str, Any]) -> None:
    with pytest.raises(ObjectError):
        _urls(obj, kind)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_an_object_leads_to_no_address_of_the_node_itself(address: str) -> None:
    part = {**_SLICE, "endpoints": [{"addresses": [address]}, {"addresses": ["10.0.0.4"]}]}

    assert _urls(part, BackendKind.ENDPOINT_SLICE) == ["http://10.0.0.4:9090"]

"""Monitors that bypass proxies and scrape applications."""

import json
from typing import Any

import pytest

from injector.kube.doctor.monitors import look_at_monitors
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, listed

_MONITORS = "/apis/monitoring.coreos.com/v1"
_SELECTOR = {"matchLabels": {"app": "web"}}


def _pod(status: str) -> Json:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 8081}]
    own = [{"name": "livery", "containerPort": 16090}]
    metadata = {
        "name": "web-0", "namespace": "shop", "labels": {"app": "web"},
        "annotations": {"livery.dev/status": status},
    }  # fmt: skip
    containers = [{"name": "web", "ports": ports}]
    proxies = [{"name": "livery-proxy", "ports": own}]
    return {"metadata": metadata, "spec": {"containers": containers, "initContainers": proxies}}


POD = _pod(json.dumps({"targets": ["web=http://:8080/metrics"]}))


def _service(**port: Any) -> Json:
    metadata = {"name": "web", "namespace": "shop", "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"selector": {"app": "web"}, "ports": [port]}}


def _monitor(kind: str, endpoint: Json, namespace: str = "shop", **spec: Any) -> Json:
    field = {"podmonitors": "podMetricsEndpoints", "servicemonitors": "endpoints"}[kind]
    metadata = {"name": "m", "namespace": namespace}
    return {"metadata": metadata, "spec": {"selector": _SELECTOR, field: [endpoint], **spec}}


def _findings(
    holding: Holding, kind: str, monitor: Json, *, pod: Json = POD, service: Json | None = None
) -> int:
    objects = {
        "/api/v1/pods": listed([pod]),
        "/api/v1/services": listed([service] if service else []),
        f"{_MONITORS}/{kind}": listed([monitor]),
    }
    with holding(objects) as client:
        return len(list(look_at_monitors(client, INSTALLATION)))


@pytest.mark.parametrize(
    ("endpoint", "is_past"),
    [
        ({"port": "http"}, True),
        ({"portNumber": 8080}, True),
        ({"targetPort": 8080}, True),
        ({"targetPort": "http"}, True),
        ({"port": "admin"}, False),
        ({"port": "livery"}, False),
        ({"portNumber": 16090}, False),
        ({}, False),
    ],
)
def test_a_pod_monitor_of_a_scraped_port_leads_past_the_proxy(
    holding: Holding, endpoint: Json, is_past: bool
) -> None:
    assert _findings(holding, "podmonitors", _monitor("podmonitors", endpoint)) == is_past


@pytest.mark.parametrize(
    ("port", "endpoint", "is_past"),
    [
        ({"name": "web", "port": 80, "targetPort": "http"}, {"port": "web"}, True),
        ({"name": "web", "port": 80, "targetPort": 8080}, {"port": "web"}, True),
        ({"name": "web", "port": 8080}, {"port": "web"}, True),
        ({"name": "web", "port": 80, "targetPort": 16090}, {"port": "web"}, False),
        ({"name": "web", "port": 80, "targetPort": 8080}, {"port": "other"}, False),
        ({"name": "web", "port": 80, "targetPort": 16090}, {"targetPort": 8080}, True),
        ({"port": 8080}, {}, False),
    ],
)
def test_a_service_monitor_leads_where_its_services_port_does(
    holding: Holding, port: Json, endpoint: Json, is_past: bool
) -> None:
    monitor = _monitor("servicemonitors", endpoint)

    assert _findings(holding, "servicemonitors", monitor, service=_service(**port)) == is_past


@pytest.mark.parametrize(
    ("namespace", "spec", "is_past"),
    [
        ("shop", {}, True),
        ("monitoring", {}, False),
        ("monitoring", {"namespaceSelector": {"any": True}}, True),
        ("monitoring", {"namespaceSelector": {"matchNames": ["shop"]}}, True),
        ("shop", {"selector": {"matchLabels": {"app": "db"}}}, False),
        ("shop", {"selector": {}}, True),
    ],
)
def test_a_monitor_concerns_what_it_selects(
    holding: Holding, namespace: str, spec: Json, is_past: bool
) -> None:
    monitor = _monitor("podmonitors", {"port": "http"}, namespace, **spec)

    assert _findings(holding, "podmonitors", monitor) == is_past


@pytest.mark.parametrize("status", ["", "[]", "{}", '{"targets": 5}', '{"targets": [5]}', "null"])
def test_a_note_that_somebody_changed_is_no_target(holding: Holding, status: str) -> None:
    monitor = _monitor("podmonitors", {"port": "http"})

    assert _findings(holding, "podmonitors", monitor, pod=_pod(status)) == 0

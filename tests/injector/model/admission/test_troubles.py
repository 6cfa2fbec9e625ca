"""Problems between a running pod and its proxy."""

import json
from typing import Any

import pytest

from injector.model.admission.troubles import (
    find_data_port,
    find_proxy,
    is_drifted,
    may_have_a_stream,
    mend_drift,
)
from injector.platform.settings import Mesh

PROXY: dict[str, Any] = {
    "name": "livery-proxy",
    "ports": [{"name": "livery", "containerPort": 16092}, {"name": "livery-admin"}],
    "env": [{"name": "LIVERY_CONTROL_URL", "value": "https://x"}],
}
LED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": "16092",
    "prometheus.io/path": "/metrics",
    "prometheus.io/scheme": "http",
}


def _pod(annotations: dict[str, str], *containers: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "web-0", "namespace": "shop", "annotations": annotations}
    return {"metadata": metadata, "spec": {"initContainers": list(containers)}}


@pytest.mark.parametrize(
    ("changed", "drifted"),
    [
        ({}, False),
        ({"prometheus.io/port": "8080"}, True),
        ({"prometheus.io/path": "/actuator"}, True),
        ({"prometheus.io/scheme": "https"}, True),
        ({"prometheus.io/scrape": "false", "prometheus.io/port": "8080"}, False),
        ({"prometheus.io/scheme": "http", "prometheus_io_path": "/x"}, False),
        ({"prometheus_io_port": "8080"}, False),
    ],
)
def test_a_pod_has_drifted_where_prometheus_would_ask_another(
    changed: dict[str, str], *, drifted: bool
) -> None:
    assert is_drifted(_pod({**LED, **changed}, PROXY)) is drifted


def test_a_pod_that_names_no_port_has_drifted() -> None:
    assert is_drifted(_pod({"prometheus.io/scrape": "true"}, PROXY))


def test_a_pod_whose_scrape_istio_took_over_has_not_drifted() -> None:
    merged = {**LED, "prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"}

    meshed = _pod(merged, PROXY, {"name": "istio-proxy"})
    assert not is_drifted(meshed, Mesh.ISTIO)
    # Any pod could have a container with that name.
    assert is_drifted(meshed)
    assert is_drifted(_pod(merged, PROXY), Mesh.ISTIO)


def test_a_pod_that_asked_and_asks_no_more_has_drifted() -> None:
    original = json.dumps({"annotations": {"prometheus.io/scrape": "true"}})
    silent = _pod({"livery.dev/original": original}, PROXY)

    assert is_drifted(silent)
    assert "prometheus.io/scrape=true" in mend_drift(silent)
    for note in ("{", "[]", '{"annotations": 5}', '{"annotations": {}}'):
        assert not is_drifted(_pod({"livery.dev/original": note}, PROXY))


def test_a_pod_without_a_proxy_cannot_drift() -> None:
    for container in ({"name": "web"}, {"name": "livery-proxy", "ports": [{"name": "x"}]}):
        pod = _pod({"prometheus.io/scrape": "true"}, container)
        assert find_data_port(pod) is None
        assert not is_drifted(pod)


def test_the_command_that_mends_leads_to_the_proxy_alone() -> None:
    pod = _pod({"prometheus_io_scrape": "true", "prometheus_io_port": "8080"}, PROXY)

    assert mend_drift(pod) == (
        "kubectl -n shop annotate --overwrite pod web-0 prometheus.io/port=16092 "
        "prometheus.io/path=/metrics prometheus.io/scheme=http prometheus_io_port-"
    )


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ({"phase": "Running", "initContainerStatuses": [{"state": {"running": {}}}]}, True),
        ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}, True),
        ({"phase": "Running", "initContainerStatuses": [{"state": {"waiting": {}}}]}, False),
        ({"phase": "Running"}, False),
        ({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}, False),
        ({}, False),
    ],
)
def test_only_a_proxy_that_runs_may_have_a_stream(status: dict[str, Any], *, may: bool) -> None:
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field, ()):
            container["name"] = "livery-proxy"

    assert may_have_a_stream({**_pod(LED, PROXY), "status": status}) is may


def test_a_proxy_that_was_told_of_no_control_service_misses_none() -> None:
    status = {
        "phase": "Running",
        "containerStatuses": [{"name": "livery-proxy", "state": {"running": {}}}],
    }
    pod = {**_pod(LED, {**PROXY, "env": []}), "status": status}

    assert find_proxy(pod) is not None
    assert not may_have_a_stream(pod)

"""Checks of gateways."""

import json
from typing import Any

import pytest

from injector.kube.doctor.findings import Finding
from injector.kube.doctor.gateways import look_at_gateways
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, listed
from tests.injector.kube.servers import Answer

_HEALTH = "/api/v1/namespaces/livery-system/pods/gw-1:8081/proxy/health"
_PLATFORM = "/api/v1/namespaces/livery-system/configmaps/livery-platform"
_GRANTED = "labels: {protected: [namespace]}\ncontrol: {grants: {gateways: [livery-system/gw]}}"
_WELL = {"status": "healthy", "targets": 2, "healthy_targets": 2, "tenants": 3}


def _pod(phase: str = "Running") -> Json:
    ports = [{"name": "livery-admin", "containerPort": 8081}]
    return {
        "metadata": {"name": "gw-1", "namespace": "livery-system"},
        "spec": {
            "serviceAccountName": "gw",
            "containers": [{"name": "livery-proxy", "ports": ports}],
        },
        "status": {"phase": phase},
    }


def _look(
    holding: Holding, health: Answer | Json, platform: str = _GRANTED, phase: str = "Running"
) -> list[Finding]:
    page = health if isinstance(health, tuple) else (200, json.dumps(health).encode())
    objects: dict[str, Json | Answer] = {
        "/api/v1/pods": listed([_pod(phase)]), _HEALTH: page,
        _PLATFORM: {"data": {"platform.yaml": platform}},
    }  # fmt: skip
    with holding(objects) as client:
        return list(look_at_gateways(client, INSTALLATION))


def test_where_no_gateway_is_nothing_is_said(holding: Holding) -> None:
    with holding({"/api/v1/pods": listed([])}) as client:
        assert list(look_at_gateways(client, INSTALLATION)) == []


def test_a_gateway_that_answers_is_well(holding: Holding) -> None:
    assert _look(holding, _WELL) == [
        Finding(True, "gateway livery-system/gw-1: 3 tenants, 2 of 2 Prometheus up")
    ]


@pytest.mark.parametrize(
    ("health", "sentence", "remedy"),
    [
        (
            {**_WELL, "error": "there are no access rules yet"},
            "serves no queries: there are",
            "logs",
        ),
        (
            {**_WELL, "targets": 0, "healthy_targets": 0},
            "has no Prometheus server to query",
            "gateway.backends",
        ),
        ({**_WELL, "healthy_targets": 1}, "1 of 2 Prometheus servers do not answer", "logs gw-1"),
        ({**_WELL, "tenants": 0}, "so tenants see none", "kubectl get metricaccess"),
        ((503, b"{}"), "cannot be queried", "logs gw-1"),
        ((200, b"no JSON"), "cannot be queried", "logs gw-1"),
        ([], "has no Prometheus server to query", "gateway.backends"),
    ],
)
def test_what_is_wrong_is_said_with_where_to_look(
    holding: Holding, health: Any, sentence: str, remedy: str
) -> None:
    (finding,) = _look(holding, health)

    assert not finding.is_well
    assert sentence in finding.sentence
    assert remedy in finding.remedy


def test_a_gateway_that_does_not_run_is_named(holding: Holding) -> None:
    (finding,) = _look(holding, _WELL, phase="Pending")

    assert finding.sentence == "gateway livery-system/gw-1 is not running"


def test_an_account_without_a_grant_gets_the_command_that_grants(holding: Holding) -> None:
    platform = "labels: {protected: [namespace]}\ncontrol: {grants: {gateways: [a/b]}}"
    (finding,) = _look(holding, _WELL, platform)

    assert "livery-system/gw is not granted the tenants' access rules" in finding.sentence
    assert "--set 'control.grants.gateways={a/b,livery-system/gw}'" in finding.remedy


def test_a_label_that_applications_can_forge_is_pointed_out(holding: Holding) -> None:
    granted = _GRANTED.replace("namespace]", "team]", 1)
    findings = _look(holding, _WELL, granted)

    assert findings[-1].is_well
    assert "can set the label namespace themselves" in findings[-1].sentence
    assert "--set 'labels.protected={namespace,pod,team}'" in findings[-1].remedy


def test_where_discovery_finds_nothing_it_is_said_where_it_looks(holding: Holding) -> None:
    discovery = "{kind: EndpointSlice, namespaces: [monitoring], labelSelector: a=b}"
    platform = f"{_GRANTED}\ngateway: {{backends: [{discovery}]}}"

    (finding,) = _look(holding, {**_WELL, "targets": 0, "healthy_targets": 0}, platform)
    assert "EndpointSlice with a=b in monitoring" in finding.sentence
    assert finding.remedy == "kubectl get endpointslice -n monitoring -l 'a=b'"


def test_the_label_that_parts_tenants_must_be_one_that_nobody_can_write(holding: Holding) -> None:
    platform = f"{_GRANTED}\ngateway: {{namespaceLabel: kubernetes_namespace}}"

    _, finding = _look(holding, _WELL, platform)
    assert "can set the label kubernetes_namespace themselves" in finding.sentence
    assert "labels.protected={kubernetes_namespace,namespace,pod}" in finding.remedy

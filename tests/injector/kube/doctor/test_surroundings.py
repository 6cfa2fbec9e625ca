"""Quotas and NetworkPolicies around proxies."""

import pytest

from injector.kube.doctor.surroundings import look_at_network, look_at_quotas, try_a_pod
from injector.platform.settings import DEFAULT_RESOURCES
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, deployment, listed

_QUOTAS = "/api/v1/namespaces/shop/resourcequotas"
_POLICIES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
_POD: Json = {
    "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "initContainers": [
            {"name": "livery-proxy", "ports": [{"name": "livery", "containerPort": 16092}]}
        ]
    },
}


def _quota(resource: str, hard: str, used: str, **spec: object) -> Json:
    status = {"hard": {resource: hard}, "used": {resource: used}}
    return {"metadata": {"name": "q"}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("quota", "annotation"),
    [
        (_quota("limits.cpu", "1", "500m"), ""),
        (_quota("limits.cpu", "1", "501m"), "livery.dev/cpu-limit"),
        (_quota("requests.memory", "1Gi", "977Mi"), "livery.dev/memory-request"),
        (_quota("cpu", "1", "991m"), "livery.dev/cpu-request"),
        (_quota("limits.cpu", "1", "1", scopes=["BestEffort"]), ""),
        (_quota("pods", "1", "1"), ""),
        (_quota("limits.cpu", "1", "nonsense"), ""),
    ],
)
def test_a_quota_without_room_for_a_proxy_is_named_with_what_to_annotate(
    holding: Holding, quota: Json, annotation: str
) -> None:
    with holding({_QUOTAS: listed([quota])}) as client:
        remedies = [finding.remedy for finding in look_at_quotas(client, "shop", DEFAULT_RESOURCES)]

    remedy = f"raise the quota, or set the annotation {annotation} on pods"
    assert remedies == ([remedy] if annotation else [])


def _policy(**spec: object) -> Json:
    return {"metadata": {"name": "n"}, "spec": {"podSelector": {}, **spec}}


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ([], []),
        ([_policy()], ["block all scrapes"]),
        ([_policy(ingress=[{"ports": [{"port": 16092}]}])], []),
        ([_policy(ingress=[{"ports": [{"port": "livery"}]}])], []),
        ([_policy(ingress=[{"ports": [{"port": 16090}]}])], ["block all scrapes"]),
        ([_policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 53}]}])], ["block web-0"]),
        ([_policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 8444}]}])], []),
        ([_policy(policyTypes=["Ingress", "Egress"])], ["block all scrapes", "block web-0"]),
    ],
)
def test_a_policy_in_a_proxys_way_is_named(
    holding: Holding, policies: list[Json], words: list[str]
) -> None:
    objects = {
        **deployment(),
        "/api/v1/namespaces/livery-system": {"metadata": {"name": "livery-system"}},
        _POLICIES: listed(policies),
    }
    with holding(objects) as client:
        findings = list(look_at_network(client, INSTALLATION, "shop", [_POD]))

    assert len(findings) == len(words)
    assert all(word in item.sentence for word, item in zip(words, findings, strict=True))


def test_no_policy_touches_a_pod_on_the_nodes_network(holding: Holding) -> None:
    on_host = {**_POD, "spec": {"hostNetwork": True}}
    with holding({_POLICIES: listed([_policy()])}) as client:
        assert list(look_at_network(client, INSTALLATION, "shop", [on_host])) == []


@pytest.mark.parametrize("namespace", ["kube-system", "livery-system"])
def test_no_pod_is_tried_where_none_is_injected(holding: Holding, namespace: str) -> None:
    with holding({}) as client:
        assert list(try_a_pod(client, INSTALLATION, namespace)) == []

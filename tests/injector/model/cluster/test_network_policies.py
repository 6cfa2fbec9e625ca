"""Traffic that NetworkPolicies allow, where that is certain."""

from typing import Any

import pytest

from injector.model.cluster.network_policies import Peer, Port, admits_connection, admits_scrapes

POD = {"metadata": {"labels": {"app": "web"}}}
DATA = Port(16090, "livery")
CONTROL = Port(8444, "control")
PEER = Peer({"name": "livery-system"}, {"app": "livery"}, is_same_namespace=False)
WEB = {"matchLabels": {"app": "web"}}


def policy(selector: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"spec": {"podSelector": WEB if selector is None else selector, **spec}}


@pytest.mark.parametrize(
    ("policies", "is_admitted"),
    [
        ([], True),
        ([policy()], False),  # without types and rules it isolates ingress
        ([policy({"matchLabels": {"app": "db"}})], True),
        ([policy({})], False),
        ([policy(policyTypes=["Egress"])], True),
        ([policy(ingress=[{}])], True),
        ([policy(ingress=[{"ports": [{"port": 8080}]}])], False),
        ([policy(ingress=[{"ports": [{"port": 8080}, {"port": 16090}]}])], True),
        ([policy(ingress=[{"ports": [{"port": "livery"}]}])], True),
        ([policy(ingress=[{"ports": [{"port": "http"}]}])], False),
        ([policy(ingress=[{"ports": [{"protocol": "UDP", "port": 16090}]}])], False),
        ([policy(ingress=[{"ports": [{"protocol": "TCP"}]}])], True),
        ([policy(ingress=[{"ports": [{"port": 16000, "endPort": 17000}]}])], True),
        ([policy(ingress=[{"ports": [{"port": 16091, "endPort": 17000}]}])], False),
        ([policy(), policy(ingress=[{"from": [{"podSelector": {}}]}])], True),
    ],
)
def test_a_port_is_shut_only_where_no_rule_of_any_policy_names_it(
    policies: list[dict[str, Any]], is_admitted: bool
) -> None:
    assert admits_scrapes(policies, POD, DATA) is is_admitted


@pytest.mark.parametrize(
    ("policies", "is_admitted"),
    [
        ([policy()], True),
        ([policy(policyTypes=["Egress"])], False),
        ([policy(egress=[{}])], True),
        ([policy(egress=[{"to": [{"podSelector": {}}]}])], False),  # only its own namespace
        ([policy(egress=[{"to": [{"namespaceSelector": {}}]}])], True),
        ([policy(egress=[{"to": [{"namespaceSelector": {"matchLabels": {"name": "x"}}}]}])], False),
        ([policy(egress=[{"to": [{"namespaceSelector": {"matchLabels": PEER.namespace_labels},
                                  "podSelector": {"matchLabels": {"app": "livery"}}}]}])], True),
        ([policy(egress=[{"to": [{"namespaceSelector": {},
                                  "podSelector": {"matchLabels": {"app": "x"}}}]}])], False),
        ([policy(egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])], True),
        ([policy(egress=[{"to": [{"namespaceSelector": {}}], "ports": [{"port": 53}]}])], False),
    ],
)  # fmt: skip
def test_the_control_service_is_out_of_reach_only_where_that_is_certain(
    policies: list[dict[str, Any]], is_admitted: bool
) -> None:
    assert admits_connection(policies, POD, CONTROL, PEER) is is_admitted


def test_a_selector_of_pods_alone_means_those_beside() -> None:
    beside = PEER._replace(is_same_namespace=True)

    assert admits_connection([policy(egress=[{"to": [{"podSelector": {}}]}])], POD, CONTROL, beside)

"""Checks of node proxies."""

import pytest

from injector.kube.doctor.nodes import look_at_nodes, read_node_proxies
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json

_APPS = "/apis/apps/v1/namespaces/livery-system"
_INSECURE = "--kubelet-insecure-skip-tls-verify"


def _workload(status: Json, *arguments: str, **spec: int) -> Json:
    template = {"spec": {"containers": [{"name": "proxy", "args": list(arguments)}]}}
    return {"spec": {**spec, "template": template}, "status": status}


@pytest.mark.parametrize(
    ("kind", "workload", "words", "is_well"),
    [
        (
            "daemonset",
            _workload({"desiredNumberScheduled": 3, "numberReady": 3}),
            "3 of 3",
            True,
        ),
        ("daemonset", _workload({"desiredNumberScheduled": 3}), "0 of 3", False),
        ("daemonset", _workload({"desiredNumberScheduled": 0}), "0 of 0", False),
        ("deployment", _workload({"readyReplicas": 2}, replicas=2), "2 of 2", True),
        ("deployment", _workload({"readyReplicas": 1}, replicas=2), "1 of 2", False),
    ],
)
def test_every_node_proxy_must_be_ready(
    holding: Holding, kind: str, workload: Json, words: str, is_well: bool
) -> None:
    with holding({f"{_APPS}/{kind}s/livery-node": workload}) as client:
        (finding,) = look_at_nodes(client, INSTALLATION)

    assert finding.is_well is is_well
    assert finding.sentence == f"{words} node proxies are ready"
    logs = f"kubectl -n livery-system logs {kind}/livery-node"
    assert finding.remedy == ("" if is_well else logs)


def test_kubelets_that_are_not_verified_are_a_problem_of_their_own(holding: Holding) -> None:
    workload = _workload({"desiredNumberScheduled": 1, "numberReady": 1}, _INSECURE)
    with holding({f"{_APPS}/daemonsets/livery-node": workload}) as client:
        ready, insecure = look_at_nodes(client, INSTALLATION)

    assert (ready.is_well, insecure.is_well) == (True, False)
    assert "--set node.insecureSkipTLSVerify=false" in insecure.remedy


def test_where_no_node_proxies_run_nothing_is_said(holding: Holding) -> None:
    with holding({}) as client:
        assert read_node_proxies(client, INSTALLATION) is None
        assert list(look_at_nodes(client, INSTALLATION)) == []

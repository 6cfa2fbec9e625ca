"""Checks of aggregates."""

import json
import shlex
from typing import Any

import pytest

from injector.kube.doctor.aggregates import look_at_aggregates
from injector.kube.doctor.findings import Finding
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, listed
from tests.injector.kube.servers import Answer

_TARGETS = "/api/v1/namespaces/mon/pods/agg-1:15091/proxy/targets"
_PLATFORM = "/api/v1/namespaces/livery-system/configmaps/livery-platform"
_UP = {"namespace": "shop", "pod": "web-0", "up": True}
_DOWN = {"namespace": "shop", "pod": "web-1", "up": False, "error": "connection refused"}


def _pod(phase: str = "Running") -> Json:
    container = {
        "name": "livery-proxy",
        "ports": [{"name": "livery-admin", "containerPort": 15091}],
    }
    return {
        "metadata": {"name": "agg-1", "namespace": "mon"},
        "spec": {"serviceAccountName": "agg", "containers": [container]},
        "status": {"phase": phase},
    }


def _shown(**fields: Any) -> Answer:
    whole = {"selector": "app=web", "trouble": "", "notGranted": [], "warnings": []}
    pods = {"running": 1, "notAnnotated": 0, "notRunning": 0}
    return 200, json.dumps({**whole, "pods": pods, "targets": [_UP], **fields}).encode()


def _look(holding: Holding, shown: Answer, **objects: Any) -> list[Finding]:
    pods: dict[str, Json | Answer] = {"/api/v1/pods": listed([objects.pop("pod", _pod())])}
    pods[_TARGETS] = shown
    with holding(pods | objects.pop("more", {})) as client:
        return list(look_at_aggregates(client, INSTALLATION))


def test_an_aggregate_whose_targets_are_up_is_well(holding: Holding) -> None:
    (finding,) = _look(holding, _shown())

    assert finding == Finding(True, "aggregate mon/agg-1: 1 target is scraped")


def test_targets_that_are_down_are_named_with_a_reason(holding: Holding) -> None:
    (finding,) = _look(holding, _shown(targets=[_UP, *[_DOWN] * 5]))

    assert finding.sentence == (
        "aggregate mon/agg-1: 5 of 6 targets are down: shop/web-1, shop/web-1, shop/web-1 "
        "and 2 more (connection refused)"
    )
    assert finding.remedy == f"kubectl get --raw {_TARGETS}"


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ({"running": 0, "notAnnotated": 0, "notRunning": 0}, "no pod matches its selector"),
        ({"notAnnotated": 2}, 'matching pods: 2 without prometheus.io/scrape: "true"'),
        ({"notRunning": 1, "running": 3}, "1 not running, 3 without a usable target"),
    ],
)
def test_an_aggregate_without_pods_says_why(
    holding: Holding, pods: dict[str, int], words: str
) -> None:
    (finding,) = _look(holding, _shown(targets=[], pods=pods))

    assert words in finding.sentence
    assert finding.remedy.startswith("kubectl get pods -A -l 'app=web'")


def test_a_missing_grant_has_the_whole_list_for_helm(holding: Holding) -> None:
    platform = (
        "control: {grants: {aggregates: [{serviceAccount: mon/agg, namespaces: [shop]}, "
        "{serviceAccount: livery-system/livery-aggregate-web, namespaces: [x]}, "
        "{serviceAccount: other/one, namespaces: ['*']}]}}"
    )
    more = {_PLATFORM: {"data": {"platform.yaml": platform}}}
    refused, targets = _look(holding, _shown(notGranted=["bank"], trouble="x"), more=more)

    assert refused.sentence == "aggregate mon/agg-1 is not granted the pods of bank"
    value = shlex.split(refused.remedy.partition("#")[0])[-1]
    assert json.loads(value.partition("=")[2]) == [
        {"serviceAccount": "mon/agg", "namespaces": ["shop", "bank"]},
        {"serviceAccount": "other/one", "namespaces": ["*"]},
    ]
    assert targets.is_well


def test_a_list_that_is_not_followed_and_a_warning_are_findings(holding: Holding) -> None:
    warning = {"namespace": "shop", "pod": "odd", "reason": "target left out"}
    lost, odd, _ = _look(holding, _shown(trouble="the stream broke", warnings=[warning]))

    assert lost.sentence == "aggregate mon/agg-1 gets no updates of pods: the stream broke"
    assert lost.remedy == "kubectl -n mon logs agg-1 --tail=50"
    assert odd.sentence == "aggregate mon/agg-1: shop/odd: target left out"


@pytest.mark.parametrize("shown", [(503, b"no"), (200, b"nonsense")])
def test_an_aggregate_that_does_not_answer_is_named(holding: Holding, shown: Answer) -> None:
    (finding,) = _look(holding, shown)

    assert not finding.is_well
    assert finding.sentence.startswith("aggregate mon/agg-1 cannot be queried")


def test_an_aggregate_that_does_not_run_is_named(holding: Holding) -> None:
    (finding,) = _look(holding, _shown(), pod=_pod("Pending"))

    assert finding.sentence == "aggregate mon/agg-1 is not running"
    assert finding.remedy == "kubectl -n mon describe pod agg-1"


def test_where_there_is_none_nothing_is_said(holding: Holding) -> None:
    with holding({"/api/v1/pods": listed([])}) as client:
        assert list(look_at_aggregates(client, INSTALLATION)) == []

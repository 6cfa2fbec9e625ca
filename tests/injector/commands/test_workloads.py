"""Pods in manifests: found, decided and written back."""

import copy
from typing import Any

import pytest
from hypothesis import given

from injector.commands.inputs import Offline
from injector.commands.workloads import (
    TEMPLATE_PATHS,
    decide_offline,
    describe_object,
    find_pod,
    inject_object,
    replace_pod,
)
from injector.errors import ObjectError
from injector.model.admission.outcomes import Reason
from injector.model.admission.removal import uninject
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from tests.injector.model.pods import JSON

Json = dict[str, Any]
POD: Json = {
    "metadata": {"annotations": {"prometheus.io/scrape": "true"}},
    "spec": {"containers": [{"name": "web"}]},
}


@pytest.fixture
def offline() -> Offline:
    return Offline(Platform(control=None), ClusterState(), "", "shop")


def _workload(kind: str, pod: object = POD) -> Json:
    found = copy.deepcopy(pod)
    for key in reversed(TEMPLATE_PATHS[kind]):
        found = {key: found, "other": 1}
    metadata = {"name": "own"} if TEMPLATE_PATHS[kind] else POD["metadata"]
    return {"kind": kind, "metadata": metadata, **found} if isinstance(found, dict) else {}


@pytest.mark.parametrize("kind", TEMPLATE_PATHS)
def test_a_pod_is_found_and_put_back_in_every_kind(kind: str) -> None:
    obj = _workload(kind)
    before = copy.deepcopy(obj)
    pod = find_pod(obj)
    assert pod is not None
    assert pod["spec"] == POD["spec"]
    replaced = replace_pod(obj, {**pod, "spec": {"containers": []}})

    changed = find_pod(replaced)
    assert changed is not None
    assert changed["spec"] == {"containers": []}
    assert replace_pod(replaced, pod) == obj == before


@given(JSON)
def test_where_a_template_should_be_anything_may_stand(value: object) -> None:
    for kind in ("Deployment", "CronJob", "PodTemplate"):
        (first, *_) = TEMPLATE_PATHS[kind]
        found = find_pod({"kind": kind, first: value})
        assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "ConfigMap", "data": {"template": POD}},
        {"kind": "pod", **POD},
        {"kind": "Rollout", "spec": {"workloadRef": {"kind": "Deployment", "name": "web"}}},
        {"kind": "Certificate", "spec": {"template": {"spec": {"secretName": "s"}}}},
        {"kind": "Other", "spec": {"template": {"spec": ["containers"]}}},
    ],
    ids=lambda obj: obj["kind"],
)
def test_an_object_that_holds_no_pod_goes_through(offline: Offline, obj: dict[str, Any]) -> None:
    assert inject_object(obj, offline) == (obj, None)


def test_a_kind_that_kubernetes_does_not_know_has_its_pods_injected(offline: Offline) -> None:
    obj = {"kind": "Rollout", "metadata": {"name": "web"}, "spec": {"template": POD}}

    treated = inject_object(obj, offline)

    assert treated.decision is not None
    assert treated.decision.proxy is not None
    assert treated.decision.proxy.job == "web"
    pod = find_pod(treated.obj)
    assert pod is not None
    assert replace_pod(treated.obj, uninject(pod)) == obj


@pytest.mark.parametrize("kind", TEMPLATE_PATHS)
def test_a_template_s_job_is_its_workload(offline: Offline, kind: str) -> None:
    decision = decide_offline(_workload(kind), offline)

    assert decision is not None
    assert decision.proxy is not None
    assert decision.proxy.job == ("own" if TEMPLATE_PATHS[kind] else "")


@pytest.mark.parametrize("kind", TEMPLATE_PATHS)
def test_an_injected_object_is_the_same_beside_its_pod(offline: Offline, kind: str) -> None:
    obj = _workload(kind)
    before = copy.deepcopy(obj)
    treated = inject_object(obj, offline)
    pod = find_pod(treated.obj)

    assert pod is not None
    assert [item["name"] for item in pod["spec"]["initContainers"]] == ["livery-proxy"]
    original = find_pod(before)
    assert original is not None
    assert replace_pod(treated.obj, original) == obj == before


def test_the_namespace_of_an_object_goes_before_the_one_that_is_meant(offline: Offline) -> None:
    obj = _workload("Deployment")
    obj["metadata"]["namespace"] = "kube-system"
    decision = decide_offline(obj, offline)

    assert decision is not None
    assert decision.reason is Reason.SYSTEM_NAMESPACE


@pytest.mark.parametrize(
    "metadata", [[], {"labels": "x"}, {"namespace": 5}, {"name": ["x"]}], ids=repr
)
def test_a_malformed_object_is_refused(offline: Offline, metadata: object) -> None:
    obj = {**_workload("DaemonSet"), "metadata": metadata}
    with pytest.raises(ObjectError, match=r"^metadata"):
        inject_object(obj, offline)


@pytest.mark.parametrize(
    ("metadata", "described"),
    [
        ({"name": "web"}, "Pod shop/web"),
        ({"name": "web", "namespace": "bank"}, "Pod bank/web"),
        ({"generateName": "web-"}, "Pod shop/web-"),
        ({}, "Pod shop/?"),
        (None, "Pod shop/?"),
        ([], "Pod shop/?"),
    ],
)
def test_an_object_is_named_whatever_it_lacks(metadata: object, described: str) -> None:
    assert describe_object({"kind": "Pod", "metadata": metadata}, "shop") == described

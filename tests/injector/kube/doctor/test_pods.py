"""Checks of pods with proxies."""

import pytest

from injector.kube.doctor.namespaces import look_at_namespaces
from injector.kube.doctor.pods import owner_of
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, deployment, listed

_SHOP = {"metadata": {"name": "shop", "labels": {"livery.dev/inject": "enabled"}}}
_PODS = "/api/v1/namespaces/shop/pods"


def _owned(kind: str, owner: str, *, is_controller: bool = True) -> Json:
    reference = {"kind": kind, "name": owner, "controller": is_controller}
    labels = {"pod-template-hash": "5d4"}
    return {"metadata": {"name": "p", "labels": labels, "ownerReferences": [reference]}}


@pytest.mark.parametrize(
    ("pod", "owner"),
    [
        (_owned("ReplicaSet", "web-5d4"), "deployment/web"),
        (_owned("StatefulSet", "db"), "statefulset/db"),
        (_owned("DaemonSet", "log"), "daemonset/log"),
        (_owned("ReplicaSet", "web"), "replicaset/web"),
        (_owned("Job", "once"), "job/once"),
        (_owned("Job", "nightly-28000000"), "job/nightly-28000000"),
        (_owned("Deployment", "watching", is_controller=False), "pod/p"),
        ({"metadata": {"name": "alone"}}, "pod/alone"),
        ({"metadata": {"name": "alone", "ownerReferences": None}}, "pod/alone"),
    ],
)
def test_a_pods_owner_is_named_as_kubectl_names_it(pod: Json, owner: str) -> None:
    assert owner_of(pod) == owner


def _drifted(name: str) -> Json:
    annotations = {
        "livery.dev/status": "{}",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
    }
    ports = [{"name": "livery", "containerPort": 16090}]
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "annotations": annotations,
            "labels": {"livery.dev/proxy": "pod"},
        },
        "spec": {"initContainers": [{"name": "livery-proxy", "ports": ports}]},
    }


def test_a_pod_whose_annotations_lead_past_its_proxy_is_named_with_what_mends_it(
    holding: Holding,
) -> None:
    objects = {
        **deployment("--webhook-configuration="),
        "/api/v1/namespaces": listed([_SHOP]),
        _PODS: listed([_drifted("web-0")]),
    }
    with holding(objects) as client:
        (problem,) = [item for item in look_at_namespaces(client, INSTALLATION) if not item.is_well]

    assert problem.sentence == "shop/web-0: its annotations make Prometheus bypass its proxy"
    assert problem.remedy.startswith(
        "kubectl -n shop annotate --overwrite pod web-0 prometheus.io/port=16090 "
    )


def test_of_many_drifted_pods_some_are_named_and_the_others_counted(holding: Holding) -> None:
    objects = {
        **deployment("--webhook-configuration="),
        "/api/v1/namespaces": listed([_SHOP]),
        _PODS: listed([_drifted(f"web-{number}") for number in range(23)]),
    }
    with holding(objects) as client:
        problems = [item for item in look_at_namespaces(client, INSTALLATION) if not item.is_well]

    assert len(problems) == 21
    assert problems[-1].sentence == "shop: the same applies to 3 more pods"


def test_no_restart_is_advised_while_nodes_cannot_pull_the_image(holding: Holding) -> None:
    waiting = {"name": "sleep", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pre_pull: Json = {"metadata": {"name": "a"}, "status": {"containerStatuses": [waiting]}}
    web: Json = {
        "metadata": {"name": "web-0", "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {"containers": [{"name": "web"}]},
    }
    objects = {
        **deployment("--webhook-configuration="),
        "/api/v1/namespaces": listed([_SHOP]),
        "/api/v1/namespaces/livery-system/pods": listed([pre_pull]),
        _PODS: listed([web]),
    }
    with holding(objects) as client:
        first, second = [
            item for item in look_at_namespaces(client, INSTALLATION) if not item.is_well
        ]

    assert first.sentence == "1 node cannot pull the proxy's image: ImagePullBackOff"
    assert first.remedy == "kubectl -n livery-system describe pod a"
    assert second.remedy == "fix the image first; see above"


_PLATFORM = {"data": {"platform.yaml": "image: {reference: registry.example/livery-sidecar:1}"}}


@pytest.mark.parametrize(
    ("labels", "image", "says"),
    [
        ({"livery.dev/proxy": "pod"}, None, "has the label livery.dev/proxy but no proxy"),
        ({"livery.dev/proxy": "pod"}, "mine:1", "has its own container named livery-proxy"),
        ({}, "registry.example/livery-sidecar:1", "lacks the label livery.dev/proxy"),
        ({}, "old.example/livery-sidecar@sha256:1", "lacks the label livery.dev/proxy"),
        ({}, None, ""),
        ({"livery.dev/proxy": "pod"}, "registry.example/livery-sidecar:0", ""),
    ],
)
def test_what_a_pod_says_of_a_proxy_is_compared_with_what_it_has(
    holding: Holding, labels: dict[str, str], image: str | None, says: str
) -> None:
    proxies = [] if image is None else [{"name": "livery-proxy", "image": image}]
    pod: Json = {
        "metadata": {"name": "web-0", "namespace": "shop", "labels": labels},
        "spec": {"containers": [{"name": "web"}, *proxies]},
    }
    objects = {
        **deployment("--webhook-configuration="),
        "/api/v1/namespaces/livery-system/configmaps/livery-platform": _PLATFORM,
        "/api/v1/namespaces": listed([_SHOP]),
        _PODS: listed([pod]),
    }
    with holding(objects) as client:
        found = [item.sentence for item in look_at_namespaces(client, INSTALLATION)]
    about = [text for text in found if text.startswith("shop/web-0 ")]

    assert len(about) == bool(says)
    assert says in "".join(about)

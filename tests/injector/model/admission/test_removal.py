"""Removal: Livery's additions to a pod are removed, and later changes by others stay."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given

from injector.errors import ObjectError
from injector.model.admission.decide import decide
from injector.model.admission.inject import patch
from injector.model.admission.removal import uninject
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from tests.injector.model.pods import ASKING_PODS
from tests.injector.webhook import apply

Json = dict[str, Any]
PLATFORM = Platform(image_pull_secrets=("pull",))


def _injected(pod: Json) -> Json:
    decision = decide(pod, "shop", ClusterState(), PLATFORM)
    return apply(pod, patch(pod, decision, PLATFORM, "PEM"))


@pytest.fixture
def pod() -> Json:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
    return _injected(
        {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "web"}]}}
    )


@given(ASKING_PODS)
def test_a_second_removal_changes_nothing(pod: Json) -> None:
    once = uninject(_injected(pod))

    assert uninject(once) == once


def test_what_others_added_since_stays(pod: Json) -> None:
    pod["metadata"]["annotations"]["team.example/owner"] = "a"
    pod["metadata"]["labels"]["app"] = "web"
    pod["spec"]["volumes"].insert(0, {"name": "data", "emptyDir": {}})
    pod["spec"]["initContainers"].append({"name": "setup"})
    before = copy.deepcopy(pod)
    restored = uninject(pod)

    assert restored == {
        "metadata": {
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "8080",
                "team.example/owner": "a",
            },
            "labels": {"app": "web"},
        },
        "spec": {
            "containers": [{"name": "web"}],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "initContainers": [{"name": "setup"}],
        },
    }
    assert pod == before


@pytest.mark.parametrize(
    "gone", [names.STATUS, names.ORIGINAL, "container"], ids=["status", "original", "container"]
)
def test_a_pod_that_livery_did_not_leave_so_comes_back_equal(pod: Json, gone: str) -> None:
    if gone == "container":
        pod["spec"]["initContainers"] = [{"name": "setup"}]
    else:
        del pod["metadata"]["annotations"][gone]

    assert uninject(pod) == pod


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (names.STATUS, "{"),
        (names.STATUS, "[]"),
        (names.STATUS, "[" * 20_000),
        (names.STATUS, '{"volumes": "data"}'),
        (names.STATUS, '{"imagePullSecrets": [5]}'),
        (names.ORIGINAL, "null"),
        (names.ORIGINAL, '{"annotations": 5}'),
        (names.ORIGINAL, '{"labels": ["a"]}'),
        (names.ORIGINAL, '{"created": {}}'),
    ],
)
def test_a_note_that_somebody_changed_is_refused_by_its_name(
    pod: Json, key: str, text: str
) -> None:
    pod["metadata"]["annotations"][key] = text
    with pytest.raises(ObjectError, match=key):
        uninject(pod)


@pytest.mark.parametrize("labels", [["a"], "a", {"a": 5}])
def test_labels_that_are_none_are_refused(pod: Json, labels: object) -> None:
    pod["metadata"]["labels"] = labels
    with pytest.raises(ObjectError, match=r"metadata\.labels"):
        uninject(pod)


def test_a_note_of_parents_takes_away_only_what_is_empty(pod: Json) -> None:
    note = '{"created": ["/spec", "/spec/containers", "/metadata/labels", "", "x"]}'
    pod["metadata"]["annotations"][names.ORIGINAL] = note
    restored = uninject(pod)

    assert restored["spec"]["containers"] == [{"name": "web"}]
    assert "labels" not in restored["metadata"]


def test_a_forged_note_writes_nothing_but_what_livery_moved() -> None:
    volumes = [{"name": "data"}, {"name": "livery-token"}]
    pod = {
        "metadata": {
            "annotations": {
                names.STATUS: '{"volumes": ["data", "livery-token"]}',
                names.ORIGINAL: json.dumps(
                    {
                        "annotations": {"evil": "x", "prometheus_io_port": "80", "a": 5},
                        "labels": {"team": "victim", names.PROXY_LABEL: "own"},
                        "created": ["/spec/containers", "/spec/volumes"],
                    }
                ),
            },
            "labels": {"team": "mine"},
        },
        "spec": {"containers": [{"name": "web"}], "volumes": volumes,
                 "initContainers": [{"name": names.PROXY_CONTAINER}]},
    }  # fmt: skip

    restored = uninject(pod)

    assert restored["metadata"]["annotations"] == {"prometheus_io_port": "80"}
    assert restored["metadata"]["labels"] == {"team": "mine", names.PROXY_LABEL: "own"}
    assert restored["spec"]["volumes"] == [{"name": "data"}]
    assert restored["spec"]["containers"] == [{"name": "web"}]

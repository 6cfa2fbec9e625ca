import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.errors import ObjectError
from injector.model.admission.decide import decide, workload_name
from injector.model.admission.inject import patch
from injector.model.admission.outcomes import AdmissionWarning, Reason, WarningCode
from injector.model.admission.removal import uninject
from injector.model.cluster import names
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from tests.injector.model.pods import JSON, PODS, Json, broken_pods

PLATFORM = Platform(image_pull_secrets=("pull", "other"))


@given(PODS)
def test_warnings_are_one_line_of_256_characters_at_most(pod: Json) -> None:
    for warning in decide(pod, "shop", ClusterState(), PLATFORM).warnings:
        assert str(warning).startswith("livery: ")
        assert len(str(warning)) <= 256
        assert len(str(warning).splitlines()) == 1


@given(broken_pods() | st.dictionaries(st.text(max_size=8), JSON))
def test_no_shape_whatever_raises(pod: Json) -> None:
    decision = decide(pod, "shop", ClusterState(), PLATFORM)

    patch(pod, decision, PLATFORM)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    assert reason.sentence


def test_a_warning_of_many_lines_becomes_one() -> None:
    assert str(AdmissionWarning(WarningCode.CLAMPED, "a\r\nb\tc")) == "livery: a b c"


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"name": "p"}, "p"),
        ({"generateName": "probe-."}, "probe"),
        ({}, ""),
        ({"name": "p", "ownerReferences": [{"kind": "Node", "name": "n"}]}, "p"),
        (
            {
                "labels": {"pod-template-hash": "5d4"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4", "controller": True}],
            },
            "web",
        ),
        ({"ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "controller": True}]}, "rs"),
        ({"ownerReferences": [{"kind": "Job", "name": "n-28391040", "controller": True}]}, "n"),
        ({"ownerReferences": [{"kind": "Job", "name": "load-2", "controller": True}]}, "load-2"),
    ],
)
def test_a_pod_is_named_by_its_workload(metadata: dict[str, Any], name: str) -> None:
    assert workload_name({"metadata": metadata}) == name


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        ({"livery.dev/status": "{}", "livery.dev/original": "no"}, "livery.dev/original"),
        ({"livery.dev/status": "[]", "livery.dev/original": "{}"}, "livery.dev/status"),
        ({"livery.dev/status": '{"volumes":5}', "livery.dev/original": "{}"}, "volumes"),
        ({"livery.dev/status": "{}", "livery.dev/original": '{"created":[1]}'}, "created"),
        ({"livery.dev/status": "[" * 9999, "livery.dev/original": "{}"}, "livery.dev/status"),
    ],
)
def test_notes_that_are_not_ours_are_named(annotations: dict[str, str], says: str) -> None:
    containers = [{"name": names.PROXY_CONTAINER}]
    with pytest.raises(ObjectError, match=re.escape(says)):
        uninject({"metadata": {"annotations": annotations}, "spec": {"containers": containers}})

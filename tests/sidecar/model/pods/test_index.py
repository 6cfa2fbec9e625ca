from typing import Any

import pytest

from sidecar.model.pods.index import Owner, PodIndex, PodLabels
from sidecar.model.pods.pod_stream import read_pods
from tests.sidecar.kubelets import pod, pod_list

UID = "12345678-5f3a-4c1b-9d2e-0123456789ab"
SLICE = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"
ID = "ab" * 32
DEBUGGER = "ef" * 32


def _debugged(item: dict[str, Any]) -> dict[str, Any]:
    item["spec"]["ephemeralContainers"] = [{"name": "debugger", "image": "d:1"}]
    status = {"name": "debugger", "containerID": f"cri-o://{DEBUGGER}"}
    item.setdefault("status", {})["ephemeralContainerStatuses"] = [status]
    return item


PODS = read_pods(
    pod_list(
        _debugged(pod("shop", "web", uid=UID, id=f"cri-o://{ID}",
            labels={"app": "web", "tier": "x"}, annotations={"owner": "ann", "app": "other"})),
        pod("kube-system", "api", uid="c" * 32),
        pod("kube-system", "mirror", annotations={"kubernetes.io/config.hash": "d" * 32}),
    )
)  # fmt: skip
ALL = PodLabels(labels=("app",), annotations=("*",), completes=True)


@pytest.mark.parametrize(
    ("cgroup", "owner"),
    [
        (f"/kubepods.slice/{SLICE}/crio-{ID}.scope", Owner("shop", "web", "web")),
        (f"/kubepods.slice/{SLICE}/cri-containerd-{ID}.scope", Owner("shop", "web", "web")),
        (f"/kubepods/burstable/pod{UID}/{ID}", Owner("shop", "web", "web")),
        (f"/system.slice/crio-{ID}.scope", Owner("shop", "web", "web")),
        (
            f"/system.slice/containerd.service/{SLICE}:cri-containerd:{ID}",
            Owner("shop", "web", "web"),
        ),
        (f"/kubepods.slice/{SLICE}/crio-{DEBUGGER}.scope", Owner("shop", "web", "debugger")),
        (f"/kubepods.slice/{SLICE}/crio-{ID}.scope/container", None),
        (f"/kubepods.slice/{SLICE}/crio-{ID}.scope/a/b", None),
        (f"/kubepods.slice/{SLICE}/crio-conmon-{ID}.scope", None),
        (f"/kubepods.slice/{SLICE}/crio-{'cd' * 32}.scope", None),
        (f"/kubepods.slice/{SLICE}", Owner("shop", "web")),
        (f"/kubepods/besteffort/pod{'c' * 32}", Owner("kube-system", "api")),
        (f"/kubepods/besteffort/pod{'d' * 32}", None),
        ("/kubepods.slice", None),
        ("/", None),
        ("", None),
        (f"/system.slice/x-{'cd' * 32}.scope", None),
        (f"/kubepods/pod{UID[:-1]}0/x", None),
    ],
)
def test_a_cgroup_s_path_says_whose_it_is(cgroup: str, owner: Owner | None) -> None:
    assert PodIndex(PODS, ALL).owner(cgroup) == owner


def test_only_what_is_wanted_is_worn_and_a_label_goes_before_an_annotation() -> None:
    assert PodIndex(PODS, ALL).worn["shop", "web"] == {"app": "web", "owner": "ann"}
    assert PodIndex(PODS, PodLabels()).worn == {}


def test_a_change_names_what_series_hold_of_it() -> None:
    before = PodIndex(PODS, ALL)
    relabelled = read_pods(pod_list(pod("shop", "web", uid=UID, id=f"cri-o://{ID}")))

    assert before.changes(before) == set()
    cgroups = {ID, DEBUGGER, UID, UID.replace("-", "_")}
    assert PodIndex((*relabelled, *PODS[:2]), ALL).changes(before) == {'"web"', *cgroups}
    gone = PodIndex(PODS[:2], ALL).changes(before)
    assert gone == {'"web"', *cgroups}
    assert before.marks_of(["shop"]) == cgroups
    assert before.marks_of(["bank"]) == set()


def test_cgroups_are_nobody_s_where_they_are_not_completed() -> None:
    index = PodIndex(PODS, PodLabels(labels=("app",)))

    assert index.owner(f"/kubepods/burstable/pod{UID}/{ID}") is None
    assert index.worn["shop", "web"] == {"app": "web"}


def test_no_pod_takes_another_s_cgroups_by_what_it_says_of_itself() -> None:
    claim = {"kubernetes.io/config.hash": UID}
    liar = pod("bank", "liar", uid="9" * 32, id=f"cri-o://{'ef' * 32}", annotations=claim)
    index = PodIndex((*PODS, *read_pods(pod_list(liar))), ALL)

    assert index.owner(f"/kubepods.slice/{SLICE}") == Owner("shop", "web")


def test_a_long_annotation_is_left_out() -> None:
    values = {"short": "x" * 1024, "long": "x" * 1025}
    index = PodIndex(read_pods(pod_list(pod("shop", "web", annotations=values))), ALL)

    assert set(index.worn["shop", "web"]) == {"short"}


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_two_pods_of_one_name_the_running_one_is_worn_then_the_newest(
    is_reversed: bool,
) -> None:
    made = []
    for team, phase, created in (
        ("old", "Running", "2026-01-01T00:00:00Z"), ("new", "Running", "2026-02-01T00:00:00Z"),
        ("over", "Failed", "2026-03-01T00:00:00Z"), ("next", "Pending", "2026-04-01T00:00:00Z"),
    ):  # fmt: skip
        item = pod("shop", "web", uid=team, labels={"app": team})
        item["metadata"]["creationTimestamp"] = created
        item["status"]["phase"] = phase
        made.append(item)
    pods = read_pods(pod_list(*(reversed(made) if is_reversed else made)))

    assert PodIndex(pods, ALL).worn["shop", "web"] == {"app": "new"}

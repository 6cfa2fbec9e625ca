from typing import Any

from sidecar.model.pods.pod_list import Container, Port, bound_annotations
from sidecar.model.pods.pod_stream import read_pods
from tests.sidecar.kubelets import pod, pod_list

WHOLE: dict[str, Any] = {
    "metadata": {
        "namespace": "shop", "name": "web-1", "uid": "u", "labels": {"app": "web"},
        "annotations": None,
        "ownerReferences": [
            {"kind": "Node", "name": "n"},
            {"kind": "ReplicaSet", "name": "web", "controller": True},
        ],
    },
    "spec": {
        "nodeName": "worker-1",
        "containers": [
            {"name": "web", "image": "web:1", "ports": [
                {"name": "http", "containerPort": 80, "protocol": "TCP"},
                {"containerPort": 53, "protocol": "UDP", "hostPort": 53},
            ]},
            {"name": "log", "image": "log:1"},
        ],
        "initContainers": [{"name": "setup", "image": "i", "restartPolicy": "Always"}],
    },
    "status": {
        "podIP": "10.0.0.1", "hostIP": "10.9.0.1", "phase": "Running",
        "conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "containerID": "containerd://abc"}],
        "initContainerStatuses": [{"name": "setup", "containerID": "containerd://def"}],
    },
}  # fmt: skip


def test_a_pod_is_read_with_all_that_targets_and_labels_need() -> None:
    (read,) = read_pods(pod_list(WHOLE))

    assert read[:8] == (
        "shop", "web-1", "u", "10.0.0.1", "10.9.0.1", "worker-1", "Running", "true",
    )  # fmt: skip
    assert (read.controller_kind, read.controller_name) == ("ReplicaSet", "web")
    assert (read.labels, read.annotations) == ({"app": "web"}, {})
    ports = (Port("http", 80, "TCP"), Port("", 53, "UDP"))
    assert read.containers == (
        Container("web", "web:1", "containerd://abc", False, ports),
        Container("log", "log:1", "", False, ()),
        Container("setup", "i", "containerd://def", True, ()),
    )


def test_ports_beyond_what_any_pod_needs_are_left_out() -> None:
    ports = [{"containerPort": number} for number in range(1, 1500)]
    (read,) = read_pods(pod_list(pod("shop", "web", ports=ports)))

    assert len(read.containers[0].ports) == 1000


def test_what_is_absent_is_empty_and_readiness_unknown() -> None:
    (read,) = read_pods(pod_list({"metadata": {"name": "a"}}))

    assert (read.name, read.ip, read.ready, read.containers) == ("a", "", "unknown", ())


def test_the_order_does_not_depend_on_the_kubelet_s() -> None:
    pods = [pod("b", "x"), pod("a", "z"), pod("a", "y")]

    assert read_pods(pod_list(*pods)) == read_pods(pod_list(*reversed(pods)))
    assert [item.name for item in read_pods(pod_list(*pods))] == ["y", "z", "x"]


def test_annotations_beyond_what_a_target_can_be_chosen_by_are_left_out() -> None:
    values = {"a": "x" * 20_000, "b": "y" * 20_000, "c": "z"}
    (read,) = read_pods(pod_list(pod("shop", "web", annotations=values)))

    assert bound_annotations(read).annotations == {"a": values["a"], "c": "z"}
    small = read._replace(annotations={"c": "z"})
    assert bound_annotations(small) is small

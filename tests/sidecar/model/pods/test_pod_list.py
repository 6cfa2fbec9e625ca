import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PodsError
from sidecar.model.pods.pod_list import Container, Port, read_pods
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


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON: '{' is missing"),
        (b"<html>", "not JSON"),
        (b"[]", "not JSON"),
        (b"{}", "no list `items`"),
        (b'{"items": {}}', "no list `items`"),
        (b'{"items": []} x', "something stands behind them"),
        (
            b'{"items": [{"spec": {"containers": [{"ports": [{"containerPort": true}]}]}}]}',
            "number",
        ),
        (b'{"items": [' + b"{}," * 5000 + b"{}]}", "more than 5000"),
        (b'{"items": [', "not JSON"),
        (b'{"items": [{}', "not JSON: ',' is missing"),
        (b'{"items": [{} {}]}', "not JSON"),
        (b'{"items": [1]}', r"items\[0\]: a mapping is needed, not a number"),
        (b'{"items": [{"metadata": 1}]}', r"items\[0\].metadata: a mapping"),
        (b'{"items": [{"metadata": {"name": 1}}]}', r"items\[0\].metadata.name: a string"),
        (b'{"items": [{}, {"spec": {"containers": {}}}]}', r"items\[1\].spec.containers: a list"),
        (b'{"items": [{"spec": {"containers": [{"ports": [{}]}]}}]}', "containerPort: a number"),
        (b'{"items": [{"metadata": {"labels": {"a": 1}}}]}', "metadata.labels.a: a string"),
        (b'{"items": ' + b"[" * 100_000, "not JSON"),
        (b'{"items": [], "x": "\xff"}', "not JSON"),
    ],
)
def test_what_is_no_pod_list_is_refused_with_its_place(body: bytes, reason: str) -> None:
    with pytest.raises(PodsError, match=reason):
        read_pods(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    around=st.dictionaries(st.text().filter(lambda key: key != "items"), _JSON, max_size=3),
    names=st.lists(st.text(), max_size=4),
    indent=st.none() | st.integers(0, 3),
    comes_first=st.booleans(),
)
def test_every_way_to_write_the_list_is_read_alike(
    around: dict[str, Any], names: list[str], indent: int | None, comes_first: bool
) -> None:
    items = {"items": [{"metadata": {"name": name}} for name in names]}
    document = {**items, **around} if comes_first else {**around, **items}
    body = json.dumps(document, indent=indent).encode()

    assert [item.name for item in read_pods(body)] == sorted(names)

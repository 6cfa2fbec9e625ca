import json
import re

from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.pods.http_sd import discover, render_http_sd
from sidecar.model.pods.pod_stream import read_pods
from tests.sidecar.kubelets import pod, pod_list
from tests.sidecar.model.pods.test_pod_list import WHOLE

PREFIX = "__meta_kubernetes_"


def test_each_declared_port_is_a_target_with_the_labels_that_alloy_gives() -> None:
    targets = discover(read_pods(pod_list(WHOLE)))

    assert [target.address for target in targets] == [
        "10.0.0.1:80", "10.0.0.1:53", "10.0.0.1", "10.0.0.1",
    ]  # fmt: skip
    assert targets[0].labels == {
        f"{PREFIX}{name}": value
        for name, value in {
            "namespace": "shop",
            "pod_name": "web-1",
            "pod_ip": "10.0.0.1",
            "pod_ready": "true",
            "pod_phase": "Running",
            "pod_node_name": "worker-1",
            "pod_host_ip": "10.9.0.1",
            "pod_uid": "u",
            "pod_label_app": "web",
            "pod_labelpresent_app": "true",
            "pod_controller_kind": "ReplicaSet",
            "pod_controller_name": "web",
            "pod_container_name": "web",
            "pod_container_id": "containerd://abc",
            "pod_container_image": "web:1",
            "pod_container_init": "false",
            "pod_container_port_name": "http",
            "pod_container_port_number": "80",
            "pod_container_port_protocol": "TCP",
        }.items()
    }
    assert targets[3].labels[f"{PREFIX}pod_container_init"] == "true"
    assert f"{PREFIX}pod_container_port_name" not in targets[2].labels


def test_a_pod_without_an_address_has_no_target() -> None:
    assert discover(read_pods(pod_list(pod("shop", "web", ip="")))) == []


def test_an_ipv6_address_stands_in_brackets_before_a_port_only() -> None:
    pods = [pod("a", "x", ip="fd00::1"), pod("a", "y", ip="fd00::2", ports=[])]

    assert [target.address for target in discover(read_pods(pod_list(*pods)))] == [
        "[fd00::1]:80", "fd00::2",
    ]  # fmt: skip


def test_namespaces_are_chosen_by_their_exact_names() -> None:
    pods = read_pods(pod_list(pod("shop", "a"), pod("shop-2", "b"), pod("bank", "c")))

    found = discover(pods, ["shop", "bank"])

    assert {target.labels[f"{PREFIX}namespace"] for target in found} == {"shop", "bank"}


def test_namespaces_labels_are_told_as_prometheus_tells_them() -> None:
    pods = read_pods(pod_list(pod("shop", "a"), pod("bank", "b")))

    bank, shop = discover(pods, (), {"shop": {"team": "frontend", "a.b/c": "x"}})

    assert shop.labels[f"{PREFIX}namespace_label_team"] == "frontend"
    assert shop.labels[f"{PREFIX}namespace_labelpresent_a_b_c"] == "true"
    assert not any("namespace_label" in name for name in bank.labels)


def test_keys_that_fall_together_are_numbered_in_their_order() -> None:
    labels = {"a.b": "1", "a-b": "2", "a_b": "3", "c": "4"}
    (target,) = discover(read_pods(pod_list(pod("shop", "web", labels=labels))))

    named = {name: value for name, value in target.labels.items() if "_label_" in name}
    assert named == {
        f"{PREFIX}pod_label_a_b_conflict1": "2",
        f"{PREFIX}pod_label_a_b_conflict2": "1",
        f"{PREFIX}pod_label_a_b_conflict3": "3",
        f"{PREFIX}pod_label_c": "4",
    }


def test_http_sd_has_one_group_a_target() -> None:
    targets = discover(read_pods(pod_list(WHOLE)))

    groups = json.loads(render_http_sd(targets))

    assert [group["targets"] for group in groups] == [[target.address] for target in targets]
    assert groups[0]["labels"] == targets[0].labels
    assert render_http_sd([]) == b"[]"


@given(labels=st.dictionaries(st.text(), st.text(), max_size=8))
def test_no_label_is_lost_and_every_name_is_legal(labels: dict[str, str]) -> None:
    (target,) = discover(read_pods(pod_list(pod("shop", "web", labels=labels))))

    prefix = f"{PREFIX}pod_label_"
    told = [value for name, value in target.labels.items() if name.startswith(prefix)]
    assert sorted(told) == sorted(labels.values())
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in target.labels)

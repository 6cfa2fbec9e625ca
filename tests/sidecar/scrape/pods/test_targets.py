from typing import Any

import pytest

from sidecar.model.exposition.formats import Format
from sidecar.model.pods.scraped_pod import ScrapedPod, parse_scraped_pod
from sidecar.scrape.pods.settings import PodsSettings
from sidecar.scrape.pods.targets import Found, TargetFinder
from tests.sidecar.model.pods.test_scraped_pod import raw_pod


def _pod(**changes: Any) -> ScrapedPod:
    return parse_scraped_pod(raw_pod(**changes), "pod")


def _find(*pods: ScrapedPod, **settings: Any) -> Found:
    return TargetFinder(PodsSettings(**settings)).find(pods)


def _ports(*numbers: int) -> dict[str, Any]:
    ports = [{"containerPort": number} for number in numbers]
    return {"spec__containers": [{"name": "web", "ports": ports}]}


def test_a_target_carries_its_namespace_and_pod() -> None:
    (target,) = _find(_pod()).targets

    assert target.marks == (("namespace", "shop"), ("pod", "web-0"))
    assert target.addresses == ("10.0.0.7", "fd00::7")
    assert target.name == "shop/web-0 http://10.0.0.7:9100/metrics"


def test_names_of_labels_can_be_chosen() -> None:
    (target,) = _find(_pod(), namespace_label="k8s_namespace", pod_label="k8s_pod_name").targets

    assert target.marks == (("k8s_namespace", "shop"), ("k8s_pod_name", "web-0"))


def test_several_targets_of_one_pod_are_told_apart() -> None:
    found = _find(_pod(metadata__annotations={"livery.dev/targets": "web=http://:1,web=http://:2"}))

    assert [target.marks[2:] for target in found.targets] == [
        (("container", "web"),), (("container", "web-2"),),
    ]  # fmt: skip


def test_guessed_targets_carry_their_port_and_the_guess_is_said() -> None:
    found = _find(_pod(**_ports(8080, 8081)))

    assert [target.marks[3] for target in found.targets] == [("port", "8080"), ("port", "8081")]
    assert "no annotation names a port" in found.troubles[0].reason


def test_pods_that_share_an_address_are_two() -> None:
    one = _pod(metadata__name="a", metadata__uid="1", **_ports(9100))
    two = _pod(metadata__name="b", metadata__uid="2", **_ports(9200))

    assert [target.target.port for target in _find(one, two).targets] == [9100, 9200]


def test_an_address_that_another_pod_had_is_a_new_target() -> None:
    one = _pod(metadata__uid="1")
    two = _pod(metadata__uid="2")

    assert _find(one).targets[0].key != _find(two).targets[0].key


def test_of_two_pods_of_one_name_the_newer_is_scraped() -> None:
    old = _pod(metadata__uid="z", metadata__creationTimestamp="2026-01-01T00:00:00Z")
    new = _pod(metadata__uid="a", metadata__creationTimestamp="2026-02-01T00:00:00Z")

    for pods in ((old, new), (new, old)):
        assert [target.uid for target in _find(*pods).targets] == ["a"]


def test_the_order_is_that_of_names() -> None:
    pods = [_pod(metadata__name=name, metadata__uid=name) for name in ("c", "a", "b")]

    assert [target.pod for target in _find(*pods).targets] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"status": {"phase": "Running", "podIP": "127.0.0.1"}},
            "127.0.0.1 is not an address that",
        ),
        ({"metadata__annotations": {"prometheus.io/port": "x"}}, "target left out: no container"),
        ({"metadata__annotations": {"livery.dev/fallback-protocol": "?"}}, "'?': unknown protocol"),
    ],
)
def test_a_pod_that_cannot_be_scraped_is_named_and_the_others_go_on(
    changes: dict[str, Any], reason: str
) -> None:
    good = _pod(metadata__name="good", metadata__uid="g")
    found = _find(_pod(**changes), good)

    assert [target.pod for target in found.targets] == ["good"]
    (trouble,) = found.troubles
    assert str(trouble).startswith(f"shop/web-0: {reason}")


def test_a_fallback_protocol_is_the_targets() -> None:
    annotations = {"livery.dev/fallback-protocol": "OpenMetricsText1.0.0"}
    (target,) = _find(_pod(metadata__annotations=annotations)).targets

    assert target.fallback is Format.OPENMETRICS


def test_loopback_addresses_are_taken_where_that_is_allowed() -> None:
    finder = TargetFinder(PodsSettings(), allows_local=True)

    assert finder.find([_pod(status={"phase": "Running", "podIP": "127.0.0.1"})]).targets


def test_a_pod_that_did_not_change_is_not_looked_at_again() -> None:
    finder, pod = TargetFinder(PodsSettings()), _pod()

    assert finder.find([pod]).targets[0] is finder.find([pod]).targets[0]
    assert finder.find([]).targets == ()

"""Scrape targets; the rules are tested in `tests/injector/model/admission/test_targets.py`."""

import pytest

from sidecar.model.pods.pod_list import Port
from sidecar.model.pods.scrape_annotations import ScrapeFault
from sidecar.model.pods.scrape_targets import DeclaredPorts, find_targets


def _container(name: str, *ports: Port) -> DeclaredPorts:
    return DeclaredPorts(name, ports)


def test_a_named_port_is_looked_for_in_all_containers() -> None:
    containers = [_container("web"), _container("db", Port("stats", 9187, "TCP"))]

    found = find_targets(containers, {}, {"port": "stats"})

    assert [str(target) for target in found.targets] == ["db=http://:9187/metrics"]


@pytest.mark.parametrize("port", [Port("m", 0, "TCP"), Port("m", 70000, ""), Port("m", 53, "UDP")])
def test_what_is_no_tcp_port_is_not_guessed(port: Port) -> None:
    found = find_targets([_container("web", port)], {}, {})

    assert [target.port for target in found.targets] == [80]


def test_several_ports_are_guessed_with_a_warning() -> None:
    ports = (Port("a", 8080, "TCP"), Port("b", 8081, ""))

    found = find_targets([_container("web", *ports)], {}, {})

    assert [(target.port, target.is_guess) for target in found.targets] == [
        (8080, True), (8081, True),
    ]  # fmt: skip
    assert [warning.fault for warning in found.warnings] == [ScrapeFault.GUESSED_TARGETS]


def test_a_mesh_is_not_guessed_at() -> None:
    mesh = _container("istio-proxy", Port("http-envoy-prom", 15090, "TCP"))

    found = find_targets([mesh, _container("web", Port("", 8080, ""))], {}, {})

    assert [target.port for target in found.targets] == [8080]

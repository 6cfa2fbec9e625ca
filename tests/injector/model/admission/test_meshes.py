"""The annotation with which a scrape bypasses a mesh."""

import pytest

from injector.model.admission.meshes import EXEMPTING, exempt_ports, passes
from injector.platform.settings import Mesh

ISTIO, LINKERD = EXEMPTING[Mesh.ISTIO], EXEMPTING[Mesh.LINKERD]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (None, "16090,16091"),
        ("", "16090,16091"),
        ("8080", "8080,16090,16091"),
        (" 8080, 16091 ", "8080, 16091,16090"),
        ("16090,16091", "16090,16091"),
        ("4000-5000", "4000-5000,16090,16091"),
    ],
)
def test_what_is_listed_already_stays(said: str | None, value: str) -> None:
    annotations = {} if said is None else {ISTIO: said}
    found = exempt_ports(Mesh.ISTIO, annotations, (16090, 16091))

    assert found == (ISTIO, value)


def test_without_a_mesh_nothing_is_written() -> None:
    assert exempt_ports(Mesh.NONE, {ISTIO: "1"}, (16090, 16091)) is None


@pytest.mark.parametrize(
    ("said", "is_past"),
    [
        ("16090", True),
        ("1, 16090 ,2", True),
        ("16000-17000", True),
        ("16091", False),
        ("16091-17000", False),
        ("", False),
        ("x,-,16090x", False),
        ("9" * 5000, False),
        ("1-" + "9" * 5000, False),
    ],
)
def test_a_port_passes_where_it_is_listed(said: str, *, is_past: bool) -> None:
    assert passes({LINKERD: said}, Mesh.LINKERD, 16090) is is_past
    assert not passes({LINKERD: said}, Mesh.ISTIO, 16090)

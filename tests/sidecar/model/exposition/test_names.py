import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.names import (
    escape_name,
    is_plain_label_name,
    is_plain_metric_name,
    sanitize_label_name,
)

_LEGACY = [escaping for escaping in Escaping if escaping is not Escaping.ALLOW_UTF8]


# Source: prometheus/common model/metric_test.go, TestEscapeName.
@pytest.mark.parametrize(
    ("name", "underscores", "dots", "values"),
    [
        ("no:escaping_required", "no:escaping_required", "no:escaping__required",
         "no:escaping_required"),
        ("mysystem.prod.west.cpu.load", "mysystem_prod_west_cpu_load",
         "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
         "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load"),
        ("mysystem.prod.west.cpu.load_total", "mysystem_prod_west_cpu_load_total",
         "mysystem_dot_prod_dot_west_dot_cpu_dot_load__total",
         "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load__total"),
        ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
        ("label with 😱", "label_with__", "label__with____", "U__label_20_with_20__1f631_"),
        ("花火", "__", "____", "U___82b1__706b_"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_names_are_escaped_as_prometheus_does(
    name: str, underscores: str, dots: str, values: str
) -> None:
    raw = name.encode()

    assert escape_name(raw, Escaping.UNDERSCORES, colons=True) == underscores.encode()
    assert escape_name(raw, Escaping.DOTS, colons=True) == dots.encode()
    assert escape_name(raw, Escaping.VALUES, colons=True) == values.encode()
    assert escape_name(raw, Escaping.ALLOW_UTF8, colons=True) == raw


@pytest.mark.parametrize("escaping", _LEGACY)
@given(name=st.text(min_size=1))
def test_an_escaped_name_is_plain(name: str, escaping: Escaping) -> None:
    assert is_plain_metric_name(escape_name(name.encode(), escaping, colons=True))
    assert is_plain_label_name(escape_name(name.encode(), escaping, colons=False))


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_values_keep_odd_names_apart(names: list[str]) -> None:
    odd = [f"{name}." for name in names]

    assert len({escape_name(name.encode(), Escaping.VALUES, colons=True) for name in odd}) == 2


@pytest.mark.parametrize(
    ("name", "metric", "label"),
    [(b"a", True, True), (b"a:b", True, False), (b"_9", True, True), (b"9", False, False),
     (b"", False, False), (b"a\n", False, False), ("é".encode(), False, False)],
)  # fmt: skip
def test_plain_names_are_told(name: bytes, metric: bool, label: bool) -> None:
    assert is_plain_metric_name(name) is metric
    assert is_plain_label_name(name) is label


@pytest.mark.parametrize(
    ("key", "name"),
    [("team", "team"), ("app.kubernetes.io/name", "app_kubernetes_io_name"), ("9a", "_9a"),
     ("a-b", "a_b"), ("é", "_"), ("A", "A")],
)  # fmt: skip
def test_a_key_becomes_a_label_name(key: str, name: str) -> None:
    assert sanitize_label_name(key) == name

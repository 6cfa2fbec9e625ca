import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gateway.target_items import Kind, read_items
from sidecar.model.access.rules import parse_access_rules
from sidecar.model.access.views import view_of

_RULES = [
    {"patterns": ["{}"], "namespaces": ["shop"]},
    {"patterns": ["up"], "namespaces": ["bank"]},
]
_VIEW = view_of(parse_access_rules(_RULES, "rules"))
_NAMES = frozenset(["up", "took_bucket", "took_count", "took_sum", "requests_total", "size_count"])


def _said(metric: str, kind: str = "gauge", namespace: str = "shop") -> dict[str, Any]:
    target = {"namespace": namespace, "instance": "a:1"}
    return {"target": target, "metric": metric, "type": kind, "help": "It.", "unit": ""}


def _body(*items: object) -> bytes:
    return json.dumps({"status": "success", "data": list(items)}).encode()


def _metrics(body: bytes) -> list[str]:
    return [item.metric for item in read_items(body, _VIEW, _NAMES, "")]


@pytest.mark.parametrize(
    ("metric", "kind", "is_seen"),
    [
        ("up", "gauge", True),
        ("took", "histogram", True),
        ("took", "summary", True),
        ("requests", "counter", True),
        ("requests_total", "counter", True),
        ("size", "summary", False),
        ("other", "gauge", False),
        ("requests", "gauge", False),
    ],
)
def test_a_metric_is_seen_if_all_its_series_are(metric: str, kind: str, is_seen: bool) -> None:
    assert bool(_metrics(_body(_said(metric, kind)))) is is_seen


def test_what_a_rule_hides_of_a_namespace_is_hidden_though_the_name_is_seen_elsewhere() -> None:
    body = _body(_said("up", namespace="bank"), _said("took", "histogram", "bank"))

    assert _metrics(body) == ["up"]
    assert _metrics(_body(_said("up", namespace="mint"))) == []


def test_an_answer_for_one_metric_does_not_name_it() -> None:
    said = _said("up")
    del said["metric"]

    (item,) = read_items(_body(said), _VIEW, _NAMES, "up")
    assert (item.metric, item.kind) == ("up", Kind("gauge", "", "It."))


def test_an_answer_that_breaks_off_is_read_as_far_as_it_goes() -> None:
    body = _body(_said("up"), _said("requests", "counter"))

    assert _metrics(body[:-30]) == ["up"]


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)
    )
)
def test_anything_else_is_left_out(said: object) -> None:
    assert _metrics(_body(said, _said("up"))) == ["up"]
    assert _metrics(_body(_said("up") | {"target": said})) == []
    assert len(_metrics(_body(_said("up") | {"type": said, "help": said}))) <= 1


@given(st.binary())
def test_any_answer_is_read(body: bytes) -> None:
    assert _metrics(body) == []


def test_texts_are_cut() -> None:
    (item,) = read_items(_body(_said("up") | {"help": "x" * 9_000}), _VIEW, _NAMES, "")
    assert len(item.kind.help) == 500

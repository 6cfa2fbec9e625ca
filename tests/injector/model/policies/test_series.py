from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.model.policies.series import LabelChange, StepKind, follow_series
from sidecar.errors import ExpositionError
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.escapes import escape
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.parser import parse_head
from sidecar.model.exposition.samples import Series
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter

_SHOP = Identity("shop", "web-0", job="web")
_DOCUMENT = {
    "labels": {"team": "frontend", "cost-center": "4711"},
    "labelRules": {"protected": ["team"]},
    "metricRelabelings": [
        {"regex": "code", "action": "labeldrop"},
        {"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"},
    ],
    "access": [{"name": "shown", "patterns": ["http_.*"], "namespaces": ["shop"]}],
}


def _policy(**changes: Any) -> SeriesPolicy:
    return parse_pod_policy({**_DOCUMENT, **changes}).series


def _series(name: str, **labels: str) -> dict[str, str]:
    return {"__name__": name, **labels}


def test_each_step_says_what_it_changed() -> None:
    series = _series("http_requests_total", code="200", team="mine")

    steps = list(follow_series(series, _policy(), _SHOP, filters=True))

    assert [(step.kind, step.detail) for step in steps] == [
        (StepKind.EXPOSED, ""),
        (StepKind.LABELLED, ""),
        (StepKind.RELABELLED, "metricRelabelings[0] (labeldrop)"),
        (StepKind.RELABELLED, "metricRelabelings[1] (drop)"),
        (StepKind.FILTERED, "shown"),
    ]
    assert [set(step.changes) for step in steps] == [
        set(),
        {
            LabelChange("team", "mine", "frontend"),
            LabelChange("exported_team", None, "mine"),
            LabelChange("cost_center", None, "4711"),
        },
        {LabelChange("code", "200", None)},
        set(),
        set(),
    ]


@pytest.mark.parametrize(
    ("series", "filters", "last", "detail"),
    [
        (_series("go_threads"), True, StepKind.RELABELLED, "metricRelabelings[1] (drop)"),
        (_series("up"), True, StepKind.FILTERED, ""),
        (_series("livery_up"), False, StepKind.LABELLED, ""),
    ],
    ids=["by-a-rule", "by-no-access-rule", "reserved"],
)
def test_the_last_step_is_the_one_that_drops(
    series: dict[str, str], filters: bool, last: StepKind, detail: str
) -> None:
    *_, step = follow_series(series, _policy(), _SHOP, filters=filters)

    assert (step.kind, step.detail, step.labels, step.changes) == (last, detail, None, ())


def test_without_a_filter_access_rules_have_no_effect() -> None:
    *_, step = follow_series(_series("up"), _policy(), _SHOP, filters=False)

    assert step.labels is not None
    assert step.labels["team"] == "frontend"


def test_a_rule_that_removes_the_name_is_an_error() -> None:
    policy = _policy(metricRelabelings=[{"regex": "__name__", "action": "labeldrop"}])

    with pytest.raises(ExpositionError, match="name"):
        list(follow_series(_series("http_x"), policy, _SHOP, filters=True))


_names = st.sampled_from(["http_total", "go_x", "up", "name with blanks", "ü"])
_labels = st.dictionaries(
    st.sampled_from(["team", "code", "exported_team", "cost_center", "ä"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
)


@pytest.mark.hypothesis
@given(name=_names, labels=_labels, filters=st.booleans())
def test_the_end_is_what_the_proxy_exposes(
    name: str, labels: dict[str, str], filters: bool
) -> None:
    policy = _policy()
    *_, last = follow_series({"__name__": name, **labels}, policy, _SHOP, filters=filters)
    pairs = tuple((key.encode(), escape(value.encode())) for key, value in labels.items())
    context = RewriteContext(identity=_SHOP, filters=filters)
    raw = b'{"%b"}' % name.encode()
    line = SeriesRewriter(policy, context, Escaping.ALLOW_UTF8).series(
        Series(name.encode(), pairs, raw)
    )

    assert (line is None) == (last.labels is None)
    if line is not None and last.labels is not None:
        head = parse_head(line.text, Format.TEXT)
        assert head is not None
        assert head.series is not None
        assert {key.decode() for key, _ in head.series.labels} == set(last.labels) - {"__name__"}

import pytest

from sidecar.errors import QueryRefusedError
from sidecar.model.access.rules import parse_access_rules
from sidecar.model.access.views import view_of
from sidecar.model.promql.branches import Budget, View
from sidecar.model.promql.targets import VisibleNames, target_conditions


def _view(*rules: dict[str, object]) -> View:
    return view_of(parse_access_rules(list(rules), "rules"))


_VIEW = _view(
    {"patterns": ["{}"], "namespaces": ["shop"]},
    {"patterns": ["up", "http_.*"], "namespaces": ["bank"]},
    {"patterns": ["queue_.*"], "namespaces": ["bank"], "labelSelectors": {"tier": "front"}},
)


def test_targets_are_those_of_namespaces_that_are_seen() -> None:
    (condition,) = target_conditions(_VIEW)
    matcher = condition.compile()

    assert [matcher.matches(name) for name in ("shop", "bank", "mint", "")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert target_conditions(_view({"patterns": ["up"], "namespaces": "*"})) == ()


@pytest.mark.parametrize(
    ("labels", "seen"),
    [
        ({"namespace": "shop"}, ["up", "queue_depth", "other"]),
        ({"namespace": "bank"}, ["up"]),
        ({"namespace": "bank", "tier": "front"}, ["up", "queue_depth"]),
        ({"namespace": "bank", "tier": "back"}, ["up"]),
        ({"namespace": "mint"}, []),
        ({}, []),
    ],
)
def test_a_name_is_seen_of_targets_whose_labels_decide_it(
    labels: dict[str, str], seen: list[str]
) -> None:
    names = VisibleNames(_VIEW, labels, Budget())

    assert [name for name in ("up", "queue_depth", "other") if name in names] == seen


def test_a_view_that_is_too_large_is_refused() -> None:
    with pytest.raises(QueryRefusedError):
        VisibleNames(_VIEW, {}, Budget(2))

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.access.rules import parse_access_rules
from sidecar.model.access.views import view_of
from sidecar.model.promql.branches import View

_PATTERNS = st.sampled_from(
    ["up", "http_.*", "{job='db'}", "up{tier='x'}", "{__name__!='up'}", "{}", "queue{job=~'d.*'}",
     "{__name__=~'u.*',__name__!='up'}"]
)  # fmt: skip
_RULES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("abc"),
            "patterns": st.lists(_PATTERNS, max_size=3),
            "labelSelectors": st.sampled_from([{}, {"tier": "x"}, {"job": "db", "tier": "y"}]),
            "namespaces": st.sampled_from([["shop"], ["shop", "bank"], [], "*"]),
        }
    ),
    max_size=4,
)
_SERIES = st.fixed_dictionaries(
    {
        "__name__": st.sampled_from(["up", "http_total", "queue", "uptime"]),
        "namespace": st.sampled_from(["shop", "bank", ""]),
        "job": st.sampled_from(["db", "web", ""]),
        "tier": st.sampled_from(["x", "y", ""]),
    }
)


def _shows(view: View, labels: dict[str, str]) -> bool:
    return any(
        all(guard.matcher.matches(labels.get(guard.condition.name, "")) for guard in one.guards)
        for one in view.branches
    )


@given(_RULES, _SERIES)
def test_a_view_shows_what_some_rule_matches(
    written: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    rules = parse_access_rules(written, "rules")

    assert _shows(view_of(rules), labels) is any(rule.matches(labels) for rule in rules)


def test_a_thousand_names_under_one_condition_are_one_branch() -> None:
    rule = {"name": "a", "patterns": [f"m{at}" for at in range(1000)], "namespaces": ["shop"]}

    assert len(view_of(parse_access_rules([rule], "rules")).branches) == 1


def test_the_label_of_namespaces_can_be_another() -> None:
    rule = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}

    view = view_of(parse_access_rules([rule], "rules"), "k8s_namespace")
    assert [guard.condition.name for guard in view.branches[0].guards] == [
        "__name__",
        "k8s_namespace",
    ]

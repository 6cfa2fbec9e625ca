"""Relabel rules in YAML, copied from any kind of configuration."""

import pytest

from injector.errors import SettingsError
from injector.files.rules import read_rules
from sidecar.model.labels.relabel import Action

_RULE = "{source_labels: [a], regex: b, action: drop}"


@pytest.mark.parametrize(
    "text",
    [
        f"- {_RULE}",
        f"metric_relabel_configs: [{_RULE}]",
        f"relabel_configs: [{_RULE}]\njob_name: web",
        "metricRelabelings: [{sourceLabels: [a], regex: b, action: drop}]",
    ],
    ids=["list", "scrape", "targets", "monitor"],
)
def test_a_rule_is_found_under_each_of_its_names(text: str) -> None:
    (rule,) = read_rules(text, "rules.yaml")

    assert (rule.action, rule.source_labels) == (Action.DROP, ("a",))


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "relabel_configs: []", "null"])
def test_no_rules_are_no_mistake(text: str) -> None:
    assert read_rules(text, "rules.yaml") == ()


def test_a_replacement_that_looks_like_a_number_is_text() -> None:
    (rule,) = read_rules("- {target_label: a, replacement: 1.10}", "rules.yaml")

    assert rule.replacement == "1.10"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("- {action: nonsense}", r"rules\[0\]\.action"),
        (f"relabel_configs: [{_RULE}, 5]", r"relabel_configs\[1\]"),
        ("just a text", "rules: "),
        ("rules: []", "expected a list of rules"),
        (f"- {_RULE}\n---\n- {_RULE}", "^rules.yaml:3: expected one document"),
        ("- {regex: (}", r"rules\[0\]\.regex"),
        ("- [", "^rules.yaml:"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, where: str) -> None:
    with pytest.raises(SettingsError, match=where) as caught:
        read_rules(text, "rules.yaml")
    assert str(caught.value).startswith("rules.yaml:")

import json
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from sidecar.errors import LimitError, RuleError
from sidecar.model.labels.relabel import MAX_RULES, Action, parse_rules, relabel, relabel_steps
from tests.real_parts.oracle import Oracle, Refused

Labels = dict[str, str]

_NAMES = ["__name__", "a", "b", "ab", "x-y", "é"]
_TEMPLATES = [
    "$1", "${1}", "$1_x", "${1}_x", "$1-x", "$$", "$", "${", "${}", "$3", "${01}", r"\1", "$n",
    "é$1",
    "${n}$2", "$0", "", "a", "b", "x y", "$1$1", "$é", "${é}", "$_", "$$1", "a${1}b", "-", "1",
]  # fmt: skip
_REGEXES = [
    "(.*)", "", "a", "b.*", "(a)(?P<n>.*)", "(?i)A", "[^a]*", "a|b", "(?U)(a+)(.*)", "a)|(b",
    ".+",
    r"\Qa\E(.*)", "(?<n>.)(.*)", "(", "a++", "(?=a)", r"\pL+", "x?", "(?s).", "^$", "(?m)^(.)",
    "a$",
]  # fmt: skip
_VALUES = ["a", "b", "ab", "aab", "", "AB", "straße", "ΑΣ", "İ", "a\nb", "x;y", "ǆ", "ﬁ", "ŉ", "ß"]

_ODDLY = st.integers(0, 7).map(lambda n: n == 0)


@st.composite
def _rules(draw: st.DrawFn) -> dict[str, Any]:
    """A rule; fields that its action accepts are more likely than others."""
    action = draw(st.sampled_from(Action))
    rule: dict[str, Any] = {"action": draw(st.sampled_from([action, action.upper()]))}
    named = action in (Action.LABELDROP, Action.LABELKEEP)
    equal = action in (Action.KEEPEQUAL, Action.DROPEQUAL)
    if draw(_ODDLY) is named:
        rule["source_labels"] = draw(st.lists(st.sampled_from(_NAMES), max_size=3))
    if draw(_ODDLY) is (named or action is Action.LABELMAP):
        names = st.sampled_from(_TEMPLATES if action is Action.REPLACE else _NAMES)
        rule["target_label"] = draw(names)
    if draw(_ODDLY) is equal:
        rule["regex"] = draw(st.sampled_from(_REGEXES))
    if draw(_ODDLY) is not (action in (Action.REPLACE, Action.LABELMAP)):
        rule["replacement"] = draw(st.sampled_from(_TEMPLATES))
    if draw(_ODDLY):
        rule["separator"] = draw(st.sampled_from(["", ";", "-", "é"]))
    if draw(_ODDLY) is not (action is Action.HASHMOD):
        rule["modulus"] = draw(st.sampled_from([0, 1, 7, 1000, 2**64 - 1]))
    return rule


_LABELS = st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_VALUES), min_size=1)


def _ours(rules: list[Any], cases: list[Labels]) -> list[Labels | None] | str:
    try:
        parsed = parse_rules(rules, "rules")
    except RuleError as error:
        return str(error)
    return [relabel(labels, parsed) for labels in cases]


def _theirs(rules: list[Any], cases: list[Labels], oracle: Oracle) -> list[Labels | None] | str:
    try:
        return oracle.relabel(json.dumps(rules), cases)
    except Refused as refused:
        return str(refused)


def _apply(labels: Labels, **rule: Any) -> Labels | None:
    return relabel(labels, parse_rules([rule], "rules"))


@given(rules=st.lists(_rules(), min_size=1, max_size=3), cases=st.lists(_LABELS, max_size=4))
def test_rules_do_what_they_do_in_prometheus(
    rules: list[Any], cases: list[Labels], oracle: Oracle
) -> None:
    ours, theirs = _ours(rules, cases), _theirs(rules, cases, oracle)

    assert ours == theirs or (isinstance(ours, str) and isinstance(theirs, str))


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "lowercase", "target_label": "a", "replacement": "x"},
        {"action": "keepequal", "target_label": "a", "separator": ""},
        {"action": "keepequal", "target_label": "a", "regex": ".*"},
        {"action": "keepequal"},
        {"action": "dropequal", "target_label": "a", "modulus": 1},
        {"action": "labeldrop", "source_labels": []},
        {"action": "labelkeep", "target_label": "a"},
        {"action": "labelmap", "replacement": ""},
        {"action": "hashmod", "target_label": "a"},
        {"action": "hashmod", "modulus": 3},
        {"action": "keepequal", "target_label": "a", "regex": "(.*)"},
        {"action": None, "target_label": "a"},
        {"action": "hashmod", "modulus": -1, "target_label": "a"},
        {"action": "replace"},
        {"action": "replace", "target_label": ""},
        {"action": "smash"},
        {"target_label": "a", "unknown": 1},
        {"target_label": "a", "regex": "a{1001}"},
        {"source_labels": "a", "target_label": "b"},
        {"source_labels": [""], "target_label": "b"},
        None,
    ],
    ids=str,
)
def test_a_rule_that_prometheus_refuses_is_refused(rule: object, oracle: Oracle) -> None:
    assert isinstance(_theirs([rule], [], oracle), str)
    assert isinstance(_ours([rule], []), str)


@pytest.mark.parametrize(
    "rule",
    [
        {"source_labels": ["a"], "regex": None, "target_label": "b", "replacement": "x"},
        {"source_labels": ["b"], "regex": None, "target_label": "b", "replacement": "x"},
        {"source_labels": ["a", "a"], "separator": "", "target_label": "b"},
        {"source_labels": None, "target_label": "b", "replacement": "x"},
        {"action": "labeldrop", "source_labels": None, "regex": "a"},
        {"source_labels": ["a"], "separator": None, "target_label": None, "action": "drop"},
        {"action": "labelmap", "regex": "(.)", "replacement": "$2"},
        {"action": "labelmap", "regex": "a)|(b", "replacement": "c"},
        {"action": "keepequal", "source_labels": ["b"], "target_label": "c"},
        {"action": "keepequal", "target_label": "a", "separator": ";"},
        {"action": "uppercase", "source_labels": ["a"], "target_label": "a", "modulus": 4},
        {"target_label": "a", "regex": "x", "replacement": ""},
        {"target_label": "a", "replacement": ""},
        {"source_labels": ["a"], "target_label": "$9", "replacement": "x"},
    ],
    ids=str,
)
def test_unset_null_and_empty_fields_differ_as_in_prometheus(rule: object, oracle: Oracle) -> None:
    cases = [{"a": "v"}, {"a": "v", "b": "w"}, {"b": "x", "ab": "v"}]
    theirs = _theirs([rule], cases, oracle)

    assert isinstance(theirs, list)
    assert _ours([rule], cases) == theirs


@pytest.mark.parametrize("action", ["lowercase", "uppercase"])
def test_letters_change_case_as_in_go(action: str, oracle: Oracle) -> None:
    rules = [{"action": action, "source_labels": ["a"], "target_label": "a"}]
    letters = [chr(code) for code in range(1, 0x1F000) if not 0xD800 <= code < 0xE000]
    text = [{"a": "".join(letters[start : start + 256])} for start in range(0, len(letters), 256)]

    # Go may support a newer Unicode version: letters that Python does not know are left out.
    for ours, theirs in zip(_ours(rules, text), _theirs(rules, text, oracle), strict=True):
        assert isinstance(ours, dict)
        assert isinstance(theirs, dict)
        differing = [
            pair for pair in zip(ours["a"], theirs["a"], strict=True) if len(set(pair)) > 1
        ]
        assert differing == []


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("$1_x", None),
        ("${1}_x", "v_x"),
        ("$1-x", "v-x"),
        ("$$", "$"),
        ("$", "$"),
        ("${", "${"),
        ("${}", "${}"),
        ("$2", None),
        ("${01}", None),
        (r"\1", r"\1"),
        ("$0", "v"),
        ("$n", "v"),
        ("${n}", "v"),
        ("$né", None),
        ("a$", "a$"),
        ("$$1", "$1"),
        ("", None),
    ],
)
def test_a_replacement_is_a_go_template(template: str, value: str | None, oracle: Oracle) -> None:
    rule = {
        "source_labels": ["a"],
        "regex": "(?P<n>.*)",
        "target_label": "b",
        "replacement": template,
    }

    changed = _apply({"a": "v", "b": "old"}, **rule)

    assert changed is not None
    assert changed.get("b") == value
    assert [changed] == oracle.relabel(json.dumps([rule]), [{"a": "v", "b": "old"}])


@given(rules=st.lists(_rules(), min_size=1, max_size=4), labels=_LABELS)
def test_steps_end_where_the_whole_ends(rules: list[Any], labels: Labels) -> None:
    try:
        parsed = parse_rules(rules, "rules")
    except RuleError:
        reject()
    steps = list(relabel_steps(labels, parsed))

    assert steps[-1].after == relabel(labels, parsed)
    assert all(step.after is not None for step in steps[:-1])
    assert [step.before for step in steps[1:]] == [step.after for step in steps[:-1]]
    assert [step.rule for step in steps] == list(parsed[: len(steps)])


def test_a_label_that_a_rule_has_set_is_mapped_after_the_others(oracle: Oracle) -> None:
    rules = [
        {"target_label": "a", "replacement": "new"},
        {"action": "labelmap", "regex": "[ab]", "replacement": "z"},
    ]
    cases: list[Labels] = [{"a": "1", "b": "2"}]

    assert _ours(rules, cases) == oracle.relabel(json.dumps(rules), cases)
    assert _ours(rules, cases) == [{"a": "new", "b": "2", "z": "new"}]


def test_keys_may_be_in_camel_case() -> None:
    assert _apply({"a": "v"}, sourceLabels=["a"], targetLabel="b") == {"a": "v", "b": "v"}


def test_a_key_in_both_cases_is_refused() -> None:
    with pytest.raises(RuleError, match=r"rules\[0\]\.target_label: given twice"):
        parse_rules([{"targetLabel": "a", "target_label": "b"}], "rules")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"regex": "("}, "rules[0].regex"),
        ({"modulus": "x", "target_label": "a"}, "rules[0].modulus"),
        ({"action": "hashmod", "modulus": 2**64, "target_label": "a"}, "rules[0].modulus"),
        ({"action": "x"}, "rules[0].action"),
        ({"foo": 1}, "rules[0].foo"),
        ({1: 1}, "rules[0].1"),
        ({"replacement": []}, "rules[0].replacement"),
        ({"source_labels": [1]}, "rules[0].source_labels"),
        ({}, "rules[0].target_label"),
        ("x", "rules[0]"),
    ],
)
def test_an_error_names_the_field(rule: object, field: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rules([rule], "rules")

    assert caught.value.field == field


def test_rules_are_bounded() -> None:
    rule = {"action": "labeldrop", "regex": "a"}

    assert len(parse_rules([rule] * MAX_RULES, "rules")) == MAX_RULES
    with pytest.raises(RuleError, match="501 rules; at most 500 are allowed"):
        parse_rules([rule] * (MAX_RULES + 1), "rules")


def test_no_rules_are_no_rules() -> None:
    assert parse_rules(None, "rules") == ()
    with pytest.raises(RuleError, match="rules: a list of relabel rules is needed"):
        parse_rules({}, "rules")


def test_relabelling_leaves_what_it_was_given() -> None:
    labels = {"a": "v"}

    _apply(labels, action="labeldrop", regex="a")

    assert labels == {"a": "v"}


def test_a_rule_that_doubles_its_own_source_is_stopped() -> None:
    rule = {"action": "uppercase", "source_labels": ["a", "a"], "target_label": "a"}

    with pytest.raises(LimitError, match="relabel rules made labels of over 524288 characters"):
        relabel({"a": "x"}, parse_rules([rule] * 40, "rules"))

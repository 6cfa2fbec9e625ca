import json
from pathlib import Path

import pytest

from tests.injector.conftest import Livery, Ran

RULES = """
- source_labels: [job]
  regex: drop
  action: drop
- sourceLabels: [job]
  targetLabel: team
  replacement: team-$1
"""


def _relabel(livery: Livery, folder: Path, rules: str, stdin: str | bytes, *arguments: str) -> Ran:
    (folder / "rules.yaml").write_text(rules)
    return livery("relabel", "-f", folder / "rules.yaml", *arguments, stdin=stdin)


def _lines(ran: Ran) -> list[object]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_each_line_is_answered_and_a_dropped_one_is_null(livery: Livery, tmp_path: Path) -> None:
    ran = _relabel(livery, tmp_path, RULES, '{"job": "web"}\n\n{"job": "drop"}\n{}\n')

    assert ran.code == 0
    assert _lines(ran) == [{"job": "web", "team": "team-web"}, None, {"team": "team-"}]


@pytest.mark.parametrize("modulus", ["16", "0x10", "020", "0o20", "1_6", "1.6e1"])
def test_a_modulus_is_read_as_yaml_writes_numbers(
    livery: Livery, tmp_path: Path, modulus: str
) -> None:
    rules = f"- {{action: hashmod, source_labels: [a], target_label: b, modulus: {modulus}}}\n"

    assert _lines(_relabel(livery, tmp_path, rules, '{"a": "x"}')) == [{"a": "x", "b": "6"}]


def test_a_null_among_the_source_labels_has_no_value(livery: Livery, tmp_path: Path) -> None:
    rules = "- {source_labels: [a, null], target_label: b}\n"

    assert _lines(_relabel(livery, tmp_path, rules, '{"a": "x"}')) == [{"a": "x", "b": "x;"}]


def test_a_key_given_twice_is_refused_with_its_line(livery: Livery, tmp_path: Path) -> None:
    ran = _relabel(livery, tmp_path, "- action: drop\n  regex: a\n  regex: b\n", "")

    assert ran.code == 2
    assert "rules.yaml:3: duplicate key 'regex'" in ran.err


def test_aliases_that_multiply_are_refused_and_a_long_value_is_cut(
    livery: Livery, tmp_path: Path
) -> None:
    levels = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 5)]
    aliases = "x0: &x0 [a]\n" + "".join(levels) + "relabel_configs: [{action: *x4}]\n"

    small = _relabel(livery, tmp_path, aliases, "")
    assert small.code == 2
    assert "is not one of replace" in small.err
    assert len(small.err) < 1000

    bomb = f"x5: &x5 [{', '.join(['*x4'] * 9)}]\nx6: [{', '.join(['*x5'] * 9)}]\n"
    large = _relabel(livery, tmp_path, aliases.replace("relabel", bomb + "relabel"), "")
    assert large.code == 2
    assert "more than 500000 nodes" in large.err


def test_a_second_document_of_rules_is_refused(livery: Livery, tmp_path: Path) -> None:
    ran = _relabel(livery, tmp_path, "- action: drop\n---\n- action: keep\n", "")

    assert ran.code == 2
    assert "rules.yaml:3: expected one document, found" in ran.err


def test_steps_show_each_rules_before_and_after(livery: Livery, tmp_path: Path) -> None:
    ran = _relabel(livery, tmp_path, RULES, '{"job": "web"}\n{"job": "drop"}\n', "--steps")

    web, drop = {"job": "web"}, {"job": "drop"}
    assert _lines(ran) == [
        {"rule": 0, "action": "drop", "before": web, "after": web},
        {"rule": 1, "action": "replace", "before": web, "after": {**web, "team": "team-web"}},
        {**web, "team": "team-web"},
        {"rule": 0, "action": "drop", "before": drop, "after": None},
        None,
    ]


@pytest.mark.parametrize("key", ["metric_relabel_configs", "relabel_configs", "metricRelabelings"])
def test_rules_are_found_within_a_mapping(livery: Livery, tmp_path: Path, key: str) -> None:
    rules = f"job_name: x\n{key}:\n- {{action: labeldrop, regex: a}}\n"

    assert _lines(_relabel(livery, tmp_path, rules, '{"a": "1", "b": "2"}')) == [{"b": "2"}]


@pytest.mark.parametrize(("written", "text"), [("1.10", "1.10"), ("on", "on"), ("010", "010")])
def test_scalars_of_rules_are_the_text_that_was_written(
    livery: Livery, tmp_path: Path, written: str, text: str
) -> None:
    rules = f"- {{target_label: v, replacement: {written}}}\n"

    assert _lines(_relabel(livery, tmp_path, rules, "{}")) == [{"v": text}]


def test_texts_of_all_languages_pass(livery: Livery, tmp_path: Path) -> None:
    ran = _relabel(livery, tmp_path, "[]", '{"é": "\\u00fc😀"}\n')

    assert ran.out == '{"é": "ü😀"}\n'


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("- {regex: '('}", "rules[0].regex: "),
        ("- {action: x}", "rules[0].action: "),
        ("- {target_label: a}\n- {action: hashmod, target_label: a}", "rules[1].modulus: "),
        ("- {unknown: 1}", "rules[0].unknown"),
        ("metric_relabel_configs: [{action: x}]", "metric_relabel_configs[0].action: "),
        ("- x", "rules[0]: "),
        ("other: []", "expected a list of rules"),
        ("text", "rules: a list"),
        ("a: [", "rules.yaml:2: "),
        ("- &a [*a]", "rules.yaml:1: nested too deeply"),
        ("[" * 5000, "rules.yaml:1: nested too deeply"),
    ],
)
def test_a_wrong_rule_exits_2_and_names_the_field(
    livery: Livery, tmp_path: Path, rules: str, says: str
) -> None:
    ran = _relabel(livery, tmp_path, rules, "{}")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"livery: {tmp_path}/rules.yaml")
    assert says in ran.err
    assert len(ran.err) < 500


@pytest.mark.parametrize(
    "line",
    [b"x", b"[]", b"null", b'{"a": 1}', b'{"a": null}', b"{", b'"a"', b"\xff", b"[" * 100_000,
     b'{"a": "\\ud800"}', b"1" * 5000],
    ids=lambda line: repr(line)[:20],
)  # fmt: skip
def test_a_line_that_is_no_label_set_exits_1_and_is_named(
    livery: Livery, tmp_path: Path, line: bytes
) -> None:
    ran = _relabel(livery, tmp_path, "[]", b'{"a": "1"}\n' + line + b"\n{}\n")

    assert (ran.code, ran.out) == (1, '{"a": "1"}\n')
    assert ran.err == "livery: line 2: not a JSON object whose values are strings\n"


def test_a_file_that_is_missing_is_a_wrong_call(livery: Livery) -> None:
    assert livery("relabel", "-f", "/does/not/exist").code == 2
    assert livery("relabel").code == 2

from collections.abc import Sequence

import pytest

from injector.files.rules import read_rules
from injector.web.status.playground import (
    EXAMPLE_RULES,
    EXAMPLE_SERIES,
    MAX_TEXT_CHARACTERS,
    Change,
    Played,
    play,
)


def _play(rules: str, series: str) -> Played:
    return play(rules, series, lambda text: read_rules(text, "rules"))


def test_the_example_shows_each_step() -> None:
    played = _play(EXAMPLE_RULES, EXAMPLE_SERIES)

    assert played.error == ""
    assert [step.is_unchanged for step in played.steps] == [True, False, False]
    changes = [
        (item.name, item.before, item.after, item.change)
        for step in played.steps
        for item in step.labels
        if item.change is not Change.KEPT
    ]
    assert changes == [
        ("resource", "", "orders", Change.ADDED),
        ("path", "/api/v1/orders/17", "", Change.REMOVED),
    ]
    assert played.result == (
        'http_requests_total{method="GET", resource="orders", team="frontend"}'
    )


LONG = "x" * 10_000


def test_a_dropped_series_has_no_result_and_no_later_steps() -> None:
    rules = "[{action: drop, source_labels: [a], regex: x}, {regex: a, action: labeldrop}]"
    played = _play(rules, 'a{a="x"}')

    assert [step.is_dropped for step in played.steps] == [True]
    assert played.result == ""


@pytest.mark.parametrize("series", ['a{b="c"}', 'a{b="c"} 17', '\n# HELP a A.\na{b="c"} 1 1700\n'])
def test_a_series_is_read_with_a_value_or_without(series: str) -> None:
    assert _play("[]", series).result == 'a{b="c"}'


@pytest.mark.parametrize(
    ("rules", "series", "error"),
    [
        ("[{action: x}]", "a", "rules: rules[0].action: 'x' is not one of"),
        ("a: [", "a", "rules:2: "),
        ("[]", "", "enter one series, such as"),
        ("[]", "a 1\nb 1", "found 2"),
        ("[]", "a{", "line 1: "),
        ("[]", "a" * (MAX_TEXT_CHARACTERS + 1), "the series is longer than 16384 characters"),
        ("#" * (MAX_TEXT_CHARACTERS + 1), "a", "the rules are longer than 16384 characters"),
        (
            "- {regex: a(.*), replacement: 'a${1}b', action: labelmap}\n" * 90,
            f'a{{a="{LONG}"}}',
            "the steps exceed 256,000 characters",
        ),
        ("- {regex: x, action: labeldrop}\n" * 101, "a", "101 rules; the limit is 100"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(rules: str, series: str, error: str) -> None:
    played = _play(rules, series)

    assert error in played.error
    assert (played.steps, played.result) == ((), "")


def test_values_are_written_as_they_would_be_exposed() -> None:
    assert _play("[]", r'a{b="x\"y\\z\n"}').result == r'a{b="x\"y\\z\n"}'


def test_a_rule_is_described_by_what_is_not_its_default() -> None:
    def described(rules: str) -> Sequence[str]:
        return [step.rule for step in _play(rules, "a").steps]

    assert described("[{target_label: b, replacement: c}]") == [
        "replace · target_label: b · replacement: 'c'"
    ]
    assert described("[{action: hashmod, source_labels: [a, b], target_label: c, modulus: 7}]") == [
        "hashmod · source_labels: [a, b] · modulus: 7 · target_label: c"
    ]

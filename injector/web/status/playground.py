"""The relabel playground: applies rules to a series and shows the labels around each rule."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from injector.errors import SettingsError
from sidecar.errors import ExpositionError, LiveryError
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import scan
from sidecar.model.labels.relabel import Rule, relabel_steps

MAX_TEXT_CHARACTERS = 16 << 10
"""Limit of the rules, and of the series."""
MAX_RULES = 100
MAX_STEPS_CHARACTERS = 256 << 10
"""Limit of the labels of all steps together: each rule can double a value."""

EXAMPLE_RULES = """\
- source_labels: [__name__]
  regex: go_.*
  action: drop
- source_labels: [path]
  regex: /api/v1/([^/]+).*
  target_label: resource
- regex: path
  action: labeldrop
"""
EXAMPLE_SERIES = 'http_requests_total{method="GET", path="/api/v1/orders/17", team="frontend"}'


class Change(StrEnum):
    """What a rule did to one label."""

    ADDED = "added"
    """The label is new."""
    CHANGED = "changed"
    """Its value changed."""
    REMOVED = "removed"
    """The label was removed."""
    KEPT = "kept"
    """The label is unchanged."""


class LabelChange(NamedTuple):
    """One label before and after a rule."""

    name: str
    before: str
    after: str
    change: Change


class PlayedStep(NamedTuple):
    """The effect of one rule."""

    rule: str
    labels: Sequence[LabelChange]
    is_dropped: bool
    is_unchanged: bool


class Played(NamedTuple):
    """The result of a run; if there is an error, there are no steps."""

    steps: Sequence[PlayedStep]
    result: str
    """The series as it would be exposed; empty if it was dropped."""
    error: str = ""


def play(rules_text: str, series_text: str, read_rules: Callable[[str], Sequence[Rule]]) -> Played:
    """Apply rules to a series.

    Args:
        rules_text: a YAML list of relabel rules.
        series_text: a series, `name{label="value"}`, with or without a value.
        read_rules: parses the rules.
    """
    try:
        return _play(_read_series(series_text), _check(rules_text, read_rules))
    except (LiveryError, SettingsError) as error:
        return Played((), "", str(error))


def _play(labels: dict[str, str], rules: Sequence[Rule]) -> Played:
    shown: list[PlayedStep] = []
    size = 0
    last: Mapping[str, str] | None = labels
    for step in relabel_steps(labels, rules):
        size += sum(len(name) + len(value) for name, value in step.before.items())
        if size > MAX_STEPS_CHARACTERS:
            raise SettingsError(f"the steps exceed {MAX_STEPS_CHARACTERS >> 10},000 characters")
        shown.append(_show_step(step.rule, step.before, step.after))
        last = step.after
    result = "" if last is None else _write_series(last)
    if len(result) > MAX_STEPS_CHARACTERS:
        raise SettingsError(f"the result exceeds {MAX_STEPS_CHARACTERS >> 10},000 characters")
    return Played(shown, result)


def _check(text: str, read_rules: Callable[[str], Sequence[Rule]]) -> Sequence[Rule]:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise SettingsError(f"the rules are longer than {MAX_TEXT_CHARACTERS} characters")
    rules = read_rules(text)
    if len(rules) > MAX_RULES:
        raise SettingsError(f"{len(rules)} rules; the limit is {MAX_RULES}")
    return rules


def _read_series(text: str) -> dict[str, str]:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise SettingsError(f"the series is longer than {MAX_TEXT_CHARACTERS} characters")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise SettingsError(f"enter one series, such as {EXAMPLE_SERIES}; found {len(lines)}")
    line = lines[0].strip()
    try:
        samples = list(scan(f"{line}\n".encode(errors="replace"), Format.TEXT))
    except ExpositionError:
        samples = list(scan(f"{line} 1\n".encode(errors="replace"), Format.TEXT))
    series = next((item.head.series for item in samples if item.head.series is not None), None)
    if series is None:
        raise SettingsError(f"enter one series, such as {EXAMPLE_SERIES}")
    labels = {name.decode(): unescape(value).decode() for name, value in series.labels if value}
    return {"__name__": series.name.decode(), **labels}


def _show_step(
    rule: Rule, before: Mapping[str, str], after: Mapping[str, str] | None
) -> PlayedStep:
    left = before if after is None else after
    changes = []
    for name in sorted({*before, *left}, key=lambda name: (name != "__name__", name)):
        old, new = before.get(name, ""), left.get(name, "")
        if old == new:
            change = Change.KEPT
        else:
            change = Change.ADDED if not old else Change.CHANGED if new else Change.REMOVED
        changes.append(LabelChange(name, old, new, change))
    is_unchanged = after is not None and dict(before) == dict(after)
    return PlayedStep(_describe(rule), changes, after is None, is_unchanged)


def _describe(rule: Rule) -> str:
    """Write a rule on one line, without default values."""
    parts = [str(rule.action)]
    if rule.source_labels:
        parts.append(f"source_labels: [{', '.join(rule.source_labels)}]")
    if rule.regex.pattern != "(.*)":
        parts.append(f"regex: {rule.regex.pattern}")
    if rule.modulus:
        parts.append(f"modulus: {rule.modulus}")
    if rule.target_label:
        parts.append(f"target_label: {rule.target_label}")
    if rule.replacement != "$1":
        parts.append(f"replacement: {rule.replacement!r}")
    return " · ".join(parts)


def _write_series(labels: Mapping[str, str]) -> str:
    rest = [
        '{}="{}"'.format(name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for name, value in sorted(labels.items())
        if name != "__name__"
    ]
    return f"{labels.get('__name__', '')}{{{', '.join(rest)}}}"

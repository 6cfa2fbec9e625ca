"""Prometheus relabel rules, all actions, with the semantics of Prometheus 3.x.

Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sidecar.errors import LimitError, RuleError, show
from sidecar.model.labels.regex import MAX_EXPANDED_LENGTH, Regex, compile_regex, expand

MAX_LABELS = 2_048
"""Maximum labels of a series while rules are applied: each `labelmap` can double them."""
MAX_LABELS_LENGTH = 1 << 19
"""Maximum characters of a series' label values together: twice the maximum of its text."""
MAX_RULES = 500
"""Maximum rules in one list; bounds the time that one series may take."""
MAX_SOURCE_LENGTH = 1 << 20
"""Maximum characters of joined source labels: a rule can double its own source."""


class Action(StrEnum):
    """What a rule does."""

    REPLACE = "replace"
    """Set the target label to the expanded replacement if the source matches."""
    KEEP = "keep"
    """Drop the series unless the source matches."""
    DROP = "drop"
    """Drop the series if the source matches."""
    KEEPEQUAL = "keepequal"
    """Drop the series unless source and target label are equal."""
    DROPEQUAL = "dropequal"
    """Drop the series if source and target label are equal."""
    HASHMOD = "hashmod"
    """Set the target label to the source's MD5 hash modulo `modulus`."""
    LABELMAP = "labelmap"
    """Copy every label whose name matches to the name given by the replacement."""
    LABELDROP = "labeldrop"
    """Remove every label whose name matches."""
    LABELKEEP = "labelkeep"
    """Remove every label whose name does not match."""
    LOWERCASE = "lowercase"
    """Set the target label to the source in lower case."""
    UPPERCASE = "uppercase"
    """Set the target label to the source in upper case."""


_DEFAULTS = {"separator": ";", "regex": "(.*)", "modulus": 0, "target_label": "",
             "replacement": "$1"}  # fmt: skip
_CAMEL_CASE = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
_FIELDS = frozenset(["source_labels", "action", *_DEFAULTS])
_NEEDS_TARGET = {
    Action.REPLACE,
    Action.HASHMOD,
    Action.LOWERCASE,
    Action.UPPERCASE,
    Action.KEEPEQUAL,
    Action.DROPEQUAL,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One relabel rule, validated."""

    action: Action = Action.REPLACE
    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: Regex
    modulus: int = 0
    target_label: str = ""
    replacement: str = "$1"

    @property
    def copies(self) -> bool:
        """Whether it only copies the source to the target label: default regex and replacement."""
        return (
            self.regex.pattern == _DEFAULTS["regex"]
            and self.replacement == _DEFAULTS["replacement"]
            and "$" not in self.target_label
        )


class Step(NamedTuple):
    """One rule's effect: the labels before and after it; `after` is None for a dropped series."""

    rule: Rule
    before: dict[str, str]
    after: dict[str, str] | None


class _Labels:
    """A mutable label set, in the order in which Prometheus's label builder visits it.

    The original labels come first, sorted, then those that rules set, oldest first: if `labelmap`
    maps two labels to one name, the later one wins.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.values = {name: labels[name] for name in sorted(labels) if labels[name]}
        self._set: set[str] = set()
        self._length = sum(map(len, self.values.values()))

    def get(self, name: str) -> str:
        return self.values.get(name, "")

    def put(self, name: str, value: str) -> None:
        if not value:
            self.remove(name)
            return
        self._length += len(value) - len(self.values.get(name, ""))
        # Checked before the label is set: each rule could double the total.
        if self._length > MAX_LABELS_LENGTH:
            raise LimitError(f"relabel rules made labels of over {MAX_LABELS_LENGTH} characters")
        if name not in self._set:
            self.values.pop(name, None)
            self._set.add(name)
        self.values[name] = value

    def remove(self, name: str) -> None:
        self._length -= len(self.values.pop(name, ""))
        self._set.discard(name)


def parse_rules(value: object, field: str) -> tuple[Rule, ...]:
    """Parse a list of rules, with keys in snake or camel case.

    Args:
        value: the list, as parsed from JSON or YAML.
        field: its path, for errors.

    Raises:
        RuleError: a rule is invalid; names the field.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RuleError(field, "a list of relabel rules is needed")
    if len(value) > MAX_RULES:
        raise RuleError(field, f"{len(value)} rules; at most {MAX_RULES} are allowed")
    return tuple(parse_rule(item, f"{field}[{index}]") for index, item in enumerate(value))


def parse_rule(value: object, field: str) -> Rule:
    """Parse one rule.

    Raises:
        RuleError: an unknown key, a value of the wrong type, or one that the action forbids.
    """
    given = _normalize(value, field)
    action = _parse_action(given.get("action", Action.REPLACE), field)
    try:
        regex = compile_regex(_text(given, "regex", field))
    except RuleError as error:
        raise RuleError(f"{field}.regex", error.reason) from error
    rule = Rule(
        action=action,
        source_labels=_source_labels(given.get("source_labels"), field),
        separator=_text(given, "separator", field),
        regex=regex,
        modulus=_modulus(given.get("modulus"), field),
        target_label=_text(given, "target_label", field),
        replacement=_text(given, "replacement", field),
    )
    _validate(rule, field, given)
    return rule


def relabel(labels: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, str] | None:
    """Apply rules in order; None if one drops the series. Labels with empty values are removed."""
    under_change = _Labels(labels)
    for rule in rules:
        if not _apply(rule, under_change):
            return None
    return under_change.values


def relabel_steps(labels: Mapping[str, str], rules: Sequence[Rule]) -> Iterator[Step]:
    """Apply rules one by one and yield each step; stops after a rule that drops the series."""
    under_change = _Labels(labels)
    for rule in rules:
        before = dict(under_change.values)
        kept = _apply(rule, under_change)
        yield Step(rule, before, dict(under_change.values) if kept else None)
        if not kept:
            return


def _apply(rule: Rule, labels: _Labels) -> bool:
    source = _source(rule, labels)
    match rule.action:
        case Action.DROP:
            return not rule.regex.matches(source)
        case Action.KEEP:
            return rule.regex.matches(source)
        case Action.DROPEQUAL:
            return labels.get(rule.target_label) != source
        case Action.KEEPEQUAL:
            return labels.get(rule.target_label) == source
        case Action.REPLACE:
            _replace(rule, labels, source)
        case Action.LABELMAP | Action.LABELDROP | Action.LABELKEEP:
            _change_names(rule, labels)
        case Action.LOWERCASE:
            labels.put(rule.target_label, _lower(source))
        case Action.UPPERCASE:
            labels.put(rule.target_label, _upper(source))
        case Action.HASHMOD:
            labels.put(rule.target_label, str(_hash(source) % rule.modulus))
    return True


def _hash(source: str) -> int:
    # Imported on first use: it takes 0.6 MB, and few rules need it.
    import hashlib

    digest = hashlib.md5(source.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:])


def _source(rule: Rule, labels: _Labels) -> str:
    source = rule.separator.join([labels.get(name) for name in rule.source_labels])
    if len(source) > MAX_SOURCE_LENGTH:
        raise LimitError(f"a relabel rule's source is over {MAX_SOURCE_LENGTH} characters")
    return source


def _replace(rule: Rule, labels: _Labels, source: str) -> None:
    if rule.copies and len(source) <= MAX_EXPANDED_LENGTH:
        labels.put(rule.target_label, source)
        return
    match = rule.regex.find(source)
    if match is None:
        return
    target = expand(rule.target_label, match, rule.regex)
    if target:
        labels.put(target, expand(rule.replacement, match, rule.regex))


def _change_names(rule: Rule, labels: _Labels) -> None:
    for name, value in list(labels.values.items()):
        matches = rule.regex.matches_name(name)
        if rule.action is Action.LABELMAP:
            if matches:
                labels.put(rule.regex.replace_all(name, rule.replacement), value)
                if len(labels.values) > MAX_LABELS:
                    raise LimitError(f"a relabel rule made more than {MAX_LABELS} labels")
        elif matches is (rule.action is Action.LABELDROP):
            labels.remove(name)


# Go maps each code point on its own; Python's full mapping may give several ("ß" to "SS").
def _upper(text: str) -> str:
    return text.upper() if text.isascii() else "".join(map(_upper_char, text))


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join([char.lower()[:1] for char in text])


def _upper_char(char: str) -> str:
    for mapped in (char.upper(), char.title()):
        if len(mapped) == 1:
            return mapped
    return char


def _normalize(value: object, field: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise RuleError(field, "a relabel rule must be a mapping")
    given: dict[str, object] = {}
    for key, item in value.items():
        name = _CAMEL_CASE.get(key, key)
        if name not in _FIELDS:
            raise RuleError(
                f"{field}.{key}", f"not a field of a relabel rule ({', '.join(sorted(_FIELDS))})"
            )
        if name in given:
            raise RuleError(f"{field}.{key}", "given twice, in snake and in camel case")
        given[name] = item
    return given


def _parse_action(value: object, field: str) -> Action:
    try:
        return Action(value.lower() if isinstance(value, str) else "")
    except ValueError:
        choices = ", ".join(Action)
        raise RuleError(f"{field}.action", f"{show(value)} is not one of {choices}") from None


def _text(given: Mapping[str, object], name: str, field: str) -> str:
    if name not in given:
        return str(_DEFAULTS[name])
    value = given[name]
    if value is None:
        return ""  # as Prometheus reads an explicit null
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    # YAML has already converted `yes` and `1.50`; Prometheus would take them as written.
    raise RuleError(f"{field}.{name}", f"a string is needed; put {show(value)} in quotes")


def _source_labels(value: object, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RuleError(f"{field}.source_labels", "a list of label names is needed")
    for item in value:
        if item is not None and (not isinstance(item, str) or not item):
            raise RuleError(f"{field}.source_labels", f"{show(item)} is not a label name")
    # Prometheus reads a null as the empty name, which no label has.
    return tuple(item or "" for item in value)


def _modulus(value: object, field: str) -> int:
    try:
        known = isinstance(value, str | int | float)
        modulus = 0 if value is None else _whole_number(str(value)) if known else -1
    except (ValueError, OverflowError):
        modulus = -1
    if not 0 <= modulus < 2**64:
        reason = f"{show(value)} is not an integer from 0 to 2^64 - 1"
        raise RuleError(f"{field}.modulus", reason)
    return modulus


def _whole_number(text: str) -> int:
    # Whole numbers as in YAML 1.1, and floats without a fraction: 0x10, 0o17, 017, 1_000, 1e3.
    if re.fullmatch(r"0[0-7]+", text):
        return int(text, 8)
    try:
        return int(text, 0)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _validate(rule: Rule, field: str, given: Mapping[str, object]) -> None:
    action = rule.action
    if action is Action.HASHMOD and rule.modulus == 0:
        raise RuleError(f"{field}.modulus", "hashmod needs a modulus above 0")
    if action in _NEEDS_TARGET and not rule.target_label:
        raise RuleError(f"{field}.target_label", f"{action} needs a target label")
    if action is Action.LABELMAP and not rule.replacement:
        raise RuleError(f"{field}.replacement", "labelmap needs a replacement")
    _refuse_unused(rule, field, given)


def _refuse_unused(rule: Rule, field: str, given: Mapping[str, object]) -> None:
    action = rule.action
    match action:
        case Action.LOWERCASE | Action.UPPERCASE:
            unused = ["replacement"]
        case Action.KEEPEQUAL | Action.DROPEQUAL:
            unused = ["modulus", "separator", "replacement"]
            if "regex" in given:
                raise RuleError(f"{field}.regex", f"cannot be set for {action}")
        case Action.LABELDROP | Action.LABELKEEP:
            unused = ["target_label", "modulus", "separator", "replacement"]
            if given.get("source_labels") is not None:
                raise RuleError(f"{field}.source_labels", f"{action} uses only regex")
        case _:
            unused = []
    for name in unused:
        if getattr(rule, name) != _DEFAULTS[name]:
            raise RuleError(f"{field}.{name}", f"cannot be set for {action}")

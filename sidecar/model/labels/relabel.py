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
"""Labels of one series while rules work on it: `labelmap` can double them at each rule."""
MAX_LABELS_LENGTH = 1 << 19
"""Characters of their values together: twice what the text of a series may have."""
MAX_RULES = 500
"""Rules in one list: bounds the time that one series may take."""
MAX_SOURCE_LENGTH = 1 << 20
"""Characters of joined source labels: a rule that writes to its own source doubles it."""


class Action(StrEnum):
    """What a rule does."""

    REPLACE = "replace"
    """Set the target label to the filled replacement where the source matches."""
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
    """Copy every label whose name matches to the name that the replacement gives."""
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
        """Whether it only copies the source to the target label: the defaults, no pattern."""
        return (
            self.regex.pattern == _DEFAULTS["regex"]
            and self.replacement == _DEFAULTS["replacement"]
            and "$" not in self.target_label
        )


class Step(NamedTuple):
    """One rule's work: the labels before and after it, None if it dropped the series."""

    rule: Rule
    before: dict[str, str]
    after: dict[str, str] | None


class _Labels:
    """A label set under change, in the order that Prometheus's builder visits it.

    Labels from before come sorted, then those that rules set, oldest first: `labelmap` lets the
    later win.
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
        # Before it is made: each rule could double what there is.
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
    """Read a list of rules, keys in snake or camel case.

    Args:
        value: the list as JSON or YAML gives it.
        field: its path, for errors.

    Raises:
        RuleError: a rule is wrong; names the field.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RuleError(field, "a list of relabel rules is needed")
    if len(value) > MAX_RULES:
        raise RuleError(field, f"{len(value)} rules; at most {MAX_RULES} are allowed")
    return tuple(parse_rule(item, f"{field}[{index}]") for index, item in enumerate(value))


def parse_rule(value: object, field: str) -> Rule:
    """Read one rule.

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
    """Apply rules in order; None if one dropped the series. An empty value is no label."""
    under_change = _Labels(labels)
    for rule in rules:
        if not _apply(rule, under_change):
            return None
    return under_change.values


def relabel_steps(labels: Mapping[str, str], rules: Sequence[Rule]) -> Iterator[Step]:
    """Apply rules one by one, showing each; stops behind the one that drops."""
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
    # Imported at the first need: 0.6 MB that few rules want.
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
        raise RuleError(field, "a relabel rule is a mapping")
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
        return ""  # as Prometheus reads a null that was written down
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    # `yes` and `1.50` are no texts any more here: Prometheus would have taken them as written.
    raise RuleError(f"{field}.{name}", f"a string is needed; put {show(value)} in quotes")


def _source_labels(value: object, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RuleError(f"{field}.source_labels", "a list of label names is needed")
    for item in value:
        if item is not None and (not isinstance(item, str) or not item):
            raise RuleError(f"{field}.source_labels", f"{show(item)} is not a label name")
    # Prometheus reads a null as the name that no label has.
    return tuple(item or "" for item in value)


def _modulus(value: object, field: str) -> int:
    try:
        known = isinstance(value, str | int | float)
        modulus = 0 if value is None else _whole_number(str(value)) if known else -1
    except (ValueError, OverflowError):
        modulus = -1
    if not 0 <= modulus < 2**64:
        reason = f"{show(value)} is not a whole number from 0 to 2^64 - 1"
        raise RuleError(f"{field}.modulus", reason)
    return modulus


def _whole_number(text: str) -> int:
    # As YAML 1.1 writes whole numbers, and floats without a fraction: 0x10, 0o17, 017, 1_000, 1e3.
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

"""Selects the labels of a namespace that its series get, and names them.

The rules are the chart's `labels.{include,exclude,rename,prefix,protected}`. The injector selects
the labels that a pod may know, the proxy names them; both use `explain_labels`, so the status page
shows exactly what a scrape will carry.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.model.exposition.names import sanitize_label_name

DEFAULT_EXCLUDE = (
    "kubernetes.io/*",
    "*.kubernetes.io/*",
    "*.k8s.io/*",
    "livery.dev/*",
    "helm.sh/*",
    "*.argoproj.io/*",
    "*.fluxcd.io/*",
    "*.cattle.io/*",
    "openshift.io/*",
    "*.openshift.io/*",
    "istio.io/*",
    "istio-injection",
    "linkerd.io/*",
)
"""Labels that tools put on namespaces: they do not say who owns the workload."""

NEVER_ADDED = frozenset(["le", "quantile", "job", "instance", "namespace", "pod"])
"""Names that have a meaning in Prometheus or in the format itself."""


class LabelFate(Described):
    """What happens to one label of a namespace."""

    ADDED = "added", "on every series"
    CONFLICT = "conflict", "numbered: several keys map to the same name"
    NOT_INCLUDED = "not-included", "not copied (labels.include)"
    EXCLUDED = "excluded", "not copied (labels.exclude)"
    RESERVED = "reserved", "not copied: the name belongs to Prometheus"
    EMPTY = "empty", "not copied: it has no value"


class ExplainedLabel(NamedTuple):
    """One label of a namespace; `name` is its name on series, None if it is not added."""

    key: str
    value: str
    fate: LabelFate
    name: str | None


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """The chart's `labels` block."""

    include: tuple[str, ...] = ("*",)
    """Patterns of keys to copy; `*` matches anything. One without `*` overrides `exclude`."""
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    """Patterns of keys not to copy."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Label names by key; a renamed key gets no prefix."""
    prefix: str = ""
    """Put before every key that is not renamed."""
    protected: frozenset[str] = frozenset()
    """Label names that an application cannot set: its value moves to `exported_<name>`."""


def explain_labels(labels: Mapping[str, str], rules: LabelRules) -> tuple[ExplainedLabel, ...]:
    """Return what happens to each label of a namespace, sorted by key."""
    include, exclude = _compile(rules.include), _compile(rules.exclude)
    exact = frozenset(pattern for pattern in rules.include if "*" not in pattern)
    fates: dict[str, LabelFate] = {}
    keys_by_name: dict[str, list[str]] = defaultdict(list)
    for key in sorted(labels):
        if include.fullmatch(key) is None:
            fates[key] = LabelFate.NOT_INCLUDED
        elif key not in exact and exclude.fullmatch(key) is not None:
            fates[key] = LabelFate.EXCLUDED
        elif not labels[key]:
            fates[key] = LabelFate.EMPTY
        elif _is_reserved(name := _name_of(key, rules)):
            fates[key] = LabelFate.RESERVED
        else:
            fates[key] = LabelFate.ADDED
            keys_by_name[name].append(key)
    names = number_conflicts(keys_by_name)
    return tuple(
        ExplainedLabel(
            key,
            labels[key],
            LabelFate.CONFLICT
            if fate is LabelFate.ADDED and len(keys_by_name[_name_of(key, rules)]) > 1
            else fate,
            names.get(key),
        )
        for key, fate in fates.items()
    )


def derive_labels(labels: Mapping[str, str], rules: LabelRules) -> dict[str, str]:
    """Return the labels that are added to series, sorted by name."""
    worn = {item.name: item.value for item in explain_labels(labels, rules) if item.name}
    return dict(sorted(worn.items()))


def select_labels(labels: Mapping[str, str], rules: LabelRules) -> dict[str, str]:
    """Return the labels of a namespace, by key, that its proxies receive."""
    return {item.key: item.value for item in explain_labels(labels, rules) if item.name}


def _compile(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile(
        "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns) or "(?!)"
    )


def _name_of(key: str, rules: LabelRules) -> str:
    renamed = rules.rename.get(key)
    return sanitize_label_name(rules.prefix + key if renamed is None else renamed)


def _is_reserved(name: str) -> bool:
    return name in NEVER_ADDED or name.startswith("__")


def number_conflicts(keys_by_name: Mapping[str, list[str]]) -> dict[str, str]:
    """Name each key; keys that share a name are all numbered, in their order."""
    taken = {name for name, keys in keys_by_name.items() if len(keys) == 1}
    names: dict[str, str] = {}
    for name in sorted(keys_by_name):
        keys = keys_by_name[name]
        if len(keys) == 1:
            names[keys[0]] = name
            continue
        number = 0
        for key in keys:
            number += 1
            while f"{name}_conflict{number}" in taken:
                number += 1
            names[key] = f"{name}_conflict{number}"
            taken.add(names[key])
    return names

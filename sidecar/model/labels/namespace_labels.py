"""Which labels of a namespace become labels of its series, and under which names.

The rules are the chart's `labels.{include,exclude,rename,prefix,protected}`. The injector selects
(what a pod may know), the proxy names; both ask `explain_labels`, so a status page shows exactly
what a scrape will carry.
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
"""Labels that tools put on namespaces: they say nothing of who owns the workload."""

NEVER_ADDED = frozenset(["le", "quantile", "job", "instance", "namespace", "pod"])
"""Names that Prometheus or the format itself gives a meaning."""


class LabelFate(Described):
    """What becomes of one label of a namespace."""

    ADDED = "added", "on every series"
    CONFLICT = "conflict", "numbered: several keys give the same name"
    NOT_INCLUDED = "not-included", "not copied (labels.include)"
    EXCLUDED = "excluded", "not copied (labels.exclude)"
    RESERVED = "reserved", "not copied: the name belongs to Prometheus"
    EMPTY = "empty", "not copied: it has no value"


class ExplainedLabel(NamedTuple):
    """One label of a namespace; `name` is what series wear, None where none do."""

    key: str
    value: str
    fate: LabelFate
    name: str | None


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """The chart's `labels` block."""

    include: tuple[str, ...] = ("*",)
    """Patterns (`*` stands for anything) of keys to take. One without `*` beats `exclude`."""
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    """Patterns of keys to leave."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Key to label name; a renamed key gets no prefix."""
    prefix: str = ""
    """Put before every name that is not renamed."""
    protected: frozenset[str] = frozenset()
    """Label names in which an application is not believed: its own value moves to `exported_`."""


def explain_labels(labels: Mapping[str, str], rules: LabelRules) -> tuple[ExplainedLabel, ...]:
    """Say for each label of a namespace, by key, what becomes of it."""
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
    """Return the labels that series wear, by name, sorted."""
    worn = {item.name: item.value for item in explain_labels(labels, rules) if item.name}
    return dict(sorted(worn.items()))


def select_labels(labels: Mapping[str, str], rules: LabelRules) -> dict[str, str]:
    """Return the labels of a namespace, by key, that its proxies are told of at all."""
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
    """Name each key; those that share a name are all numbered, in their order."""
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

"""Relabel rules as people write them in YAML, read as Prometheus reads its configuration."""

from collections.abc import Hashable
from typing import Any

import yaml

from injector.errors import SettingsError
from sidecar.errors import RuleError
from sidecar.model.relabel import Rule, parse_rules

_LIST_KEYS = ("metric_relabel_configs", "relabel_configs", "metricRelabelings")


def read_rules(text: str, source: str) -> tuple[Rule, ...]:
    """Read a list of rules, or a mapping that holds one under a key of Prometheus or Livery.

    Args:
        text: the YAML.
        source: its name, for errors.

    Raises:
        SettingsError: it is not YAML, or a rule is wrong; names the line or field.
    """
    value = _load(text, source)
    field = "rules"
    if isinstance(value, dict):
        field = next((key for key in _LIST_KEYS if key in value), "")
        if not field:
            raise SettingsError(f"{source}: a list of rules is needed, or one of {_LIST_KEYS}")
        value = value[field]
    try:
        return parse_rules(value, field)
    except RuleError as error:
        raise SettingsError(f"{source}: {error}") from error


def _load(text: str, source: str) -> object:
    try:
        return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - builds texts, lists, mappings only
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SettingsError(f"{source}:{line}: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError, KeyError) as error:
        raise SettingsError(f"{source}: not YAML: {error}") from error


class _TextLoader(yaml.SafeLoader):
    """`regex: 1.10` means the text, and a key stands once, as for Prometheus."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_TextLoader.yaml_implicit_resolvers = {
    first: [item for item in resolvers if item[0].endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

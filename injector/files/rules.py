"""Reads relabel rules from YAML, in the way Prometheus reads its configuration."""

from injector.errors import ManifestError, SettingsError
from injector.files.documents import TextLoader, read_documents
from sidecar.errors import RuleError
from sidecar.model.labels.relabel import Rule, parse_rules

_LIST_KEYS = ("metric_relabel_configs", "relabel_configs", "metricRelabelings")


def read_rules(text: str, source: str) -> tuple[Rule, ...]:
    """Read a list of rules, or a mapping with such a list under a Prometheus or Livery key.

    Args:
        text: the YAML.
        source: its name, for errors.

    Raises:
        SettingsError: the text is not YAML, or a rule is invalid; names the line or field.
    """
    try:
        documents = list(read_documents(text, source, TextLoader))
    except ManifestError as error:
        raise SettingsError(str(error)) from error
    if len(documents) > 1:
        raise SettingsError(f"{source}:{documents[1][1]}: expected one document, found several")
    value = documents[0][0] if documents else None
    field = "rules"
    if isinstance(value, dict):
        field = next((key for key in _LIST_KEYS if key in value), "")
        if not field:
            raise SettingsError(
                f"{source}: expected a list of rules, or one under {', '.join(_LIST_KEYS)}"
            )
        value = value[field]
    try:
        return parse_rules(value, field)
    except RuleError as error:
        raise SettingsError(f"{source}: {error}") from error

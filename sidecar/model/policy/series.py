"""The part of a policy about series, the same for all roles that rewrite them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sidecar.errors import RuleError
from sidecar.model.access.rules import AccessRule
from sidecar.model.exposition.names import MAX_ESCAPED_NAME_BYTES
from sidecar.model.fields import Fields, read_string_map
from sidecar.model.labels.namespace_labels import LabelRules, derive_labels
from sidecar.model.labels.relabel import Rule
from sidecar.model.policy.document import DocumentReader

_RULE_FIELDS = frozenset(["rename", "prefix", "protected"])


@dataclass(frozen=True, kw_only=True)
class SeriesPolicy:
    """Labels and rules; the default changes nothing."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that every series gets, by label name."""
    naming: LabelRules = field(default_factory=lambda: LabelRules(exclude=()))
    """How label names are made from keys, and which labels the application may not set."""
    relabelings: tuple[Rule, ...] = ()
    """The platform's rules, applied to every series."""
    access_rules: tuple[AccessRule, ...] | None = None
    """The namespace's access rules; None until they arrive."""
    namespaces: Mapping[str, Mapping[str, str]] | None = None
    """Labels by the namespace that a series names; None if they are not granted."""

    @property
    def protected(self) -> frozenset[str]:
        """Label names that the application may not set."""
        return self.naming.protected


def check_names(names: Iterable[str], path: str) -> None:
    """Refuse label names that are too long to be escaped for every client.

    Raises:
        RuleError: a name is too long.
    """
    for name in names:
        if len(name.encode()) > MAX_ESCAPED_NAME_BYTES:
            reason = f"the label name is longer than {MAX_ESCAPED_NAME_BYTES} bytes"
            raise RuleError(f"{path}.{name[:40]}…", reason)


def read_labels(value: object, path: str, naming: LabelRules) -> dict[str, str]:
    """Read labels by key; return them by label name.

    Raises:
        RuleError: a value is not a string, or a name is too long.
    """
    labels = derive_labels(read_string_map(value, path), naming)
    check_names(labels, path)
    return labels


def read_naming(reader: DocumentReader, fields: Fields, last: SeriesPolicy | None) -> LabelRules:
    """Read `labelRules`; if it cannot be read, those of `last` stay active.

    Raises:
        RuleError: a field has the wrong type or, in a file, is unknown; and it comes from a file or
            nothing is active yet.
    """
    return reader.part(
        fields,
        "labelRules",
        lambda: _read_naming(reader, fields),
        last=last,
        pick=lambda series: series.naming,
    )


def _read_naming(reader: DocumentReader, fields: Fields) -> LabelRules:
    rules = reader.check(fields.at("labelRules"), _RULE_FIELDS, "a label rule")
    check_names(rules.strings("protected"), rules.name("protected"))
    return LabelRules(
        exclude=(),
        rename=rules.string_map("rename"),
        prefix=rules.text("prefix"),
        protected=frozenset(rules.strings("protected")),
    )

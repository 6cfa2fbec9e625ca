"""What a policy says of series, alike for all roles that rewrite them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.model.access.rules import AccessRule
from sidecar.model.fields import Fields
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.labels.relabel import Rule
from sidecar.model.policy.document import DocumentReader

_RULE_FIELDS = frozenset(["rename", "prefix", "protected"])


@dataclass(frozen=True, kw_only=True)
class SeriesPolicy:
    """Labels and rules; the default changes nothing."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of every series, by label name."""
    naming: LabelRules = field(default_factory=lambda: LabelRules(exclude=()))
    """How labels are named by their keys, and which the application may not set."""
    relabelings: tuple[Rule, ...] = ()
    """The platform's rules, applied to every series."""
    access_rules: tuple[AccessRule, ...] | None = None
    """The namespace's access rules; None where they have not arrived."""
    namespaces: Mapping[str, Mapping[str, str]] | None = None
    """Labels of series by the namespace that they name; None where it was not granted."""

    @property
    def protected(self) -> frozenset[str]:
        """Label names that the application may not set."""
        return self.naming.protected


def read_naming(reader: DocumentReader, fields: Fields) -> LabelRules:
    """Read `labelRules`.

    Raises:
        RuleError: a field is not of its type; from a file also: it is unknown.
    """
    rules = reader.check(fields.at("labelRules"), _RULE_FIELDS, "a label rule")
    return LabelRules(
        exclude=(),
        rename=rules.string_map("rename"),
        prefix=rules.text("prefix"),
        protected=frozenset(rules.strings("protected")),
    )

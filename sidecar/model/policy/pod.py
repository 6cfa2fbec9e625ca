"""The policy of role `pod`: one document, sent as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.errors import PolicyError, RuleError
from sidecar.model.fields import Fields
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.series import SeriesPolicy, read_labels, read_naming

if TYPE_CHECKING:
    from sidecar.model.policy.forward import Forwarding

# `namespace` is sent but not read: the proxy knows its own namespace.
_FIELDS = frozenset(
    ["namespace", "labels", "labelRules", "metricRelabelings", "access", "namespaces", "forward"]
)


@dataclass(frozen=True, kw_only=True)
class PodPolicy:
    """The policy of one pod's proxy; the default passes everything on unchanged."""

    series: SeriesPolicy = field(default_factory=SeriesPolicy)
    forwarding: "Forwarding | None" = None
    """What is forwarded; None for nothing."""


def parse_pod_policy(
    value: object,
    reader: DocumentReader | None = None,
    *,
    last: PodPolicy | None = None,
    reads_access: bool = True,
) -> PodPolicy:
    """Read a policy document.

    Args:
        value: a mapping, parsed from JSON or YAML. Labels have their Kubernetes keys and are named
            here, by `labelRules`, both in the bootstrap policy and on the stream.
        reader: notes what is not used; by default the document comes from a file.
        last: the policy before this one; None if there is none.
        reads_access: whether access rules are compiled; only a proxy that filters needs them.

    Raises:
        PolicyError: it cannot be used; names the field.
    """
    reader = reader or DocumentReader(Origin.FILE)
    try:
        fields = reader.open(value, _FIELDS)
        before = None if last is None else last.series
        naming = read_naming(reader, fields, before)
        series = SeriesPolicy(
            labels=reader.part(
                fields,
                "labels",
                lambda: read_labels(fields.value.get("labels"), "labels", naming),
                last=before,
                pick=lambda series: series.labels,
            ),
            naming=naming,
            relabelings=reader.relabelings(
                fields, "metricRelabelings", last=before, pick=lambda series: series.relabelings
            ),
            access_rules=reader.access_rules(fields, "access") if reads_access else None,
            namespaces=reader.part(
                fields,
                "namespaces",
                lambda: _read_namespaces(fields, naming),
                last=before,
                pick=lambda series: series.namespaces,
            ),
        )
        forwarding = _read_forwarding(fields, reader)
    except RuleError as error:
        raise PolicyError(str(error)) from error
    return PodPolicy(series=series, forwarding=forwarding)


def _read_forwarding(fields: Fields, reader: DocumentReader) -> "Forwarding | None":
    value = fields.value.get("forward")
    if not value:
        return None
    # Imported only here: a proxy that forwards nothing does not load it.
    from sidecar.model.policy.forward import parse_forwarding

    try:
        return parse_forwarding(value, reader)
    except RuleError as error:
        if reader.origin is Origin.FILE:
            raise
        reader.note(f"{error}; nothing is sent")
        return None


def _read_namespaces(fields: Fields, naming: LabelRules) -> Mapping[str, Mapping[str, str]] | None:
    if fields.value.get("namespaces") is None:
        return None
    return {
        str(name): read_labels(labels, f"namespaces.{name}", naming)
        for name, labels in fields.mapping("namespaces").items()
    }

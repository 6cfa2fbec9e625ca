"""The policy of role `aggregate`.

Keys are `platform`, `namespace/NAME` and `pod/NAMESPACE/UID`; a file has all but the pods in one
document.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.errors import PodsError, PolicyError, RuleError
from sidecar.model.pods.scraped_pod import ScrapedPod, parse_scraped_pod
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import (
    NAMESPACE_PREFIX,
    PLATFORM_KEY,
    KeyChange,
    KeyedPolicy,
    KeyKind,
    KeySchema,
    apply_keys,
    read_platform_series,
)

POD_PREFIX = "pod/"
_FILE_FIELDS = frozenset(["labelRules", "metricRelabelings", "namespaces"])
_PLATFORM_FIELDS = frozenset(["labelRules", "metricRelabelings", "granted"])


@dataclass(frozen=True, kw_only=True)
class AggregatePolicy(KeyedPolicy):
    """The policy of an aggregate; the default has no namespace and no pod."""

    pods: Mapping[str, ScrapedPod] = field(default_factory=dict)
    """By namespace and uid: all pods of the granted namespaces, whatever their labels."""
    granted: tuple[str, ...] = ("*",)
    """The namespaces that are granted to it; `*` means all."""


AggregateChange = KeyChange[AggregatePolicy]


def parse_aggregate_policy(value: object) -> AggregateChange:
    """Read a policy document from a file.

    Raises:
        PolicyError: it cannot be used; names the field.
    """
    reader = DocumentReader(Origin.FILE)
    try:
        fields = reader.open(value, _FILE_FIELDS)
        platform = {name: item for name, item in fields.value.items() if name != "namespaces"}
        keys: dict[str, object] = {PLATFORM_KEY: platform}
        for name, item in fields.mapping("namespaces").items():
            keys[f"{NAMESPACE_PREFIX}{name}"] = item
        return apply_keys(AGGREGATE_KEYS, None, {}, keys, reader=reader)
    except RuleError as error:
        raise PolicyError(str(error)) from error


def _read_platform(
    value: object, present: AggregatePolicy | None, reader: DocumentReader
) -> AggregatePolicy:
    try:
        fields = reader.open(value, _PLATFORM_FIELDS)
        granted = fields.strings("granted") if "granted" in fields.value else ("*",)
        return AggregatePolicy(
            series=read_platform_series(reader, fields, present), granted=granted
        )
    except RuleError as error:
        if present is None:
            raise PolicyError(str(error)) from error
        reader.note(f"{PLATFORM_KEY}: {error}; the last good rules stay active")
        return present


def _read_pod(name: str, value: object, reader: DocumentReader) -> ScrapedPod:
    try:
        return parse_scraped_pod(value, "")
    except PodsError as error:
        raise RuleError(f"{POD_PREFIX}{name}", str(error)) from error


AGGREGATE_KEYS: KeySchema[AggregatePolicy] = KeySchema(
    kinds=(
        KeyKind(
            prefix=POD_PREFIX,
            read=_read_pod,
            objects=lambda policy: policy.pods,
            with_objects=lambda policy, pods: replace(policy, pods=pods),
        ),
    ),
    read_platform=_read_platform,
    empty=AggregatePolicy,
)
"""How the policy is read from the stream."""

"""The policy of a collector: the namespaces assigned to it, and what their objects send.

Keys are `platform`, `assignment/NAMESPACE`, `sending/NAMESPACE/NAME` and
`credential/NAMESPACE/SECRET/KEY`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.errors import PolicyError, RuleError
from sidecar.model.fields import Fields
from sidecar.model.policy.document import DocumentReader
from sidecar.model.policy.forward import (
    Forwarding,
    ForwardRule,
    Network,
    parse_forward_rule,
    read_ranges,
)
from sidecar.model.policy.keyed import (
    PLATFORM_KEY,
    KeyChange,
    KeyedPolicy,
    KeyKind,
    KeySchema,
)
from sidecar.model.policy.secret import Credential, parse_credential

ASSIGNMENT_PREFIX = "assignment/"
SENDING_PREFIX = "sending/"
CREDENTIAL_PREFIX = "credential/"
_PLATFORM_FIELDS = frozenset(["allowedRanges", "namespaceLabel"])


@dataclass(frozen=True, kw_only=True)
class CollectorPolicy(KeyedPolicy):
    """What a collector sends; the default sends nothing."""

    assignments: Mapping[str, None] = field(default_factory=dict)
    """Namespaces that are assigned to this collector."""
    rules: Mapping[str, ForwardRule] = field(default_factory=dict)
    """By namespace and name of the MetricAccess object."""
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    """By namespace, name and key of the Secret."""
    allowed: tuple[Network, ...] = ()
    """Address ranges that receivers may always use, even otherwise forbidden ones."""
    namespace_label: str = "namespace"
    """The label that holds a series' namespace in the backends."""

    def forwarding(self) -> Mapping[str, Forwarding]:
        """Return what is sent for each namespace that is assigned to this collector."""
        rules: dict[str, list[ForwardRule]] = {}
        for key, rule in sorted(self.rules.items()):
            rules.setdefault(key.partition("/")[0], []).append(rule)
        credentials: dict[str, dict[str, Credential]] = {}
        for key, credential in self.credentials.items():
            namespace, _, name = key.partition("/")
            credentials.setdefault(namespace, {})[name] = credential
        return {
            namespace: Forwarding(
                tuple(rules.get(namespace, ())), self.allowed, credentials.get(namespace, {})
            )
            for namespace in self.assignments
        }


CollectorChange = KeyChange[CollectorPolicy]


def _read_platform(
    value: object, present: CollectorPolicy | None, reader: DocumentReader
) -> CollectorPolicy:
    try:
        fields = reader.open(value, _PLATFORM_FIELDS)
        label, allowed = fields.text("namespaceLabel") or "namespace", read_ranges(fields)
    except RuleError as error:
        raise PolicyError(f"{PLATFORM_KEY}: {error}") from error
    policy = CollectorPolicy() if present is None else present
    return replace(policy, allowed=allowed, namespace_label=label)


def _read_assignment(name: str, value: object, reader: DocumentReader) -> None:
    reader.check(Fields(value, f"{ASSIGNMENT_PREFIX}{name}"), frozenset(), "an assignment field")


def _read_sending(name: str, value: object, reader: DocumentReader) -> ForwardRule:
    path = f"{SENDING_PREFIX}{name}"
    if "/" not in name:
        raise RuleError(path, "a namespace and a name are needed")
    return parse_forward_rule(Fields(value, path))


def _read_credential(name: str, value: object, reader: DocumentReader) -> Credential:
    return parse_credential(value, f"{CREDENTIAL_PREFIX}{name}")


COLLECTOR_KEYS: KeySchema[CollectorPolicy] = KeySchema(
    kinds=(
        KeyKind(
            prefix=ASSIGNMENT_PREFIX,
            read=_read_assignment,
            objects=lambda policy: policy.assignments,
            with_objects=lambda policy, objects: replace(policy, assignments=objects),
        ),
        KeyKind(
            prefix=SENDING_PREFIX,
            read=_read_sending,
            objects=lambda policy: policy.rules,
            with_objects=lambda policy, objects: replace(policy, rules=objects),
            grants=True,
        ),
        KeyKind(
            prefix=CREDENTIAL_PREFIX,
            read=_read_credential,
            objects=lambda policy: policy.credentials,
            with_objects=lambda policy, objects: replace(policy, credentials=objects),
            grants=True,
        ),
    ),
    read_platform=_read_platform,
    empty=CollectorPolicy,
)
"""How the policy is read from the stream."""

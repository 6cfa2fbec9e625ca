"""The policy of role `gateway`: each tenant's access rules, and the URLs of Prometheus servers.

Keys are `platform`, `namespace/NAME`, `tenant/NAMESPACE` and `backend/GROUP/URL`; a file has the
tenants in one document.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.errors import PolicyError, RuleError
from sidecar.model.access.rules import AccessRule
from sidecar.model.fields import Fields
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import (
    PLATFORM_KEY,
    KeyChange,
    KeyedPolicy,
    KeyKind,
    KeySchema,
    apply_keys,
)

TENANT_PREFIX = "tenant/"
BACKEND_PREFIX = "backend/"
DEFAULT_GROUP = "default"
_FILE_FIELDS = frozenset(["tenants"])
_PLATFORM_FIELDS = frozenset(["knowsBackends"])

Rules = tuple[AccessRule, ...]


@dataclass(frozen=True, kw_only=True)
class GatewayPolicy(KeyedPolicy):
    """The policy of a gateway; the default has no tenant."""

    tenants: Mapping[str, Rules] = field(default_factory=dict)
    """Rules by namespace."""
    backends: Mapping[str, str] = field(default_factory=dict)
    """URLs of the single group of Prometheus servers, by their keys without the prefix."""
    knows_backends: bool = False
    """Whether `backends` is complete; otherwise the backends known before stay."""


GatewayChange = KeyChange[GatewayPolicy]


def parse_gateway_policy(value: object) -> GatewayChange:
    """Read a policy document from a file.

    Raises:
        PolicyError: it cannot be used; names the field.
    """
    reader = DocumentReader(Origin.FILE)
    try:
        fields = reader.open(value, _FILE_FIELDS)
        keys: dict[str, object] = {PLATFORM_KEY: {}}
        for name, rules in fields.mapping("tenants").items():
            keys[f"{TENANT_PREFIX}{name}"] = rules
        return apply_keys(GATEWAY_KEYS, None, {}, keys, reader=reader)
    except RuleError as error:
        raise PolicyError(str(error)) from error


def _read_platform(
    value: object, present: GatewayPolicy | None, reader: DocumentReader
) -> GatewayPolicy:
    try:
        knows_backends = reader.open(value, _PLATFORM_FIELDS).flag("knowsBackends")
    except RuleError as error:
        if reader.origin is Origin.FILE:
            raise
        raise PolicyError(f"{PLATFORM_KEY}: {error}") from error
    policy = GatewayPolicy() if present is None else present
    return replace(policy, knows_backends=knows_backends)


def _read_rules(name: str, value: object, reader: DocumentReader) -> Rules:
    return reader.access_rules(Fields({name: value}, "tenants"), name) or ()


def _read_backend(name: str, value: object, reader: DocumentReader) -> str:
    group, _, url = name.partition("/")
    fields = Fields(value, f"{BACKEND_PREFIX}{name}")
    reader.check(fields, frozenset(), "a field of a backend")
    if group != DEFAULT_GROUP or not url:
        raise RuleError(f"{BACKEND_PREFIX}{name}", f"only the group {DEFAULT_GROUP} is supported")
    return url


GATEWAY_KEYS: KeySchema[GatewayPolicy] = KeySchema(
    kinds=(
        KeyKind(
            prefix=TENANT_PREFIX,
            read=_read_rules,
            objects=lambda policy: policy.tenants,
            with_objects=lambda policy, tenants: replace(policy, tenants=tenants),
            grants=True,
        ),
        KeyKind(
            prefix=BACKEND_PREFIX,
            read=_read_backend,
            objects=lambda policy: policy.backends,
            with_objects=lambda policy, backends: replace(policy, backends=backends),
        ),
    ),
    read_platform=_read_platform,
    empty=GatewayPolicy,
)
"""How the policy is read from the stream."""

"""Bounds of tenants as a file has them: `default`, and `tenants` by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import DocumentError, SettingsError
from sidecar.gateway.limits import TenantLimits
from sidecar.gateway.tenants import is_namespace
from sidecar.model.fields import Fields
from sidecar.model.promql.parser import MAX_QUERY_BYTES
from sidecar.process.documents import read_document

MAX_BYTES = 1 << 20
LEAST = 0.001
"""Of a bound that is no whole number; less would be none, or would last for ever."""
_FIELDS = frozenset(
    ["requestsPerSecond", "burst", "concurrency", "responseMiB", "queryBytes", "rangeSeconds"]
)


class AllLimits(NamedTuple):
    """Bounds of all tenants."""

    default: TenantLimits
    tenants: Mapping[str, TenantLimits]


def read_limits(path: Path, default: TenantLimits) -> AllLimits:
    """Read a file of bounds; what it leaves out is as by default.

    Raises:
        SettingsError: it cannot be read, or a bound is none; names the field.
    """
    try:
        document = Fields(read_document(path, MAX_BYTES), str(path), _wrong)
    except DocumentError as error:
        raise SettingsError(str(error)) from error
    document.refuse_unknown(["default", "tenants"], "a field of limits")
    usual = _read(document.at("default"), default)
    tenants = document.at("tenants")
    for name in tenants.value:
        if not is_namespace(name):
            raise SettingsError(f"{tenants.name(name)}: {name[:63]!r} is no namespace")
    return AllLimits(usual, {name: _read(tenants.at(name), usual) for name in tenants.value})


def _read(block: Fields, default: TenantLimits) -> TenantLimits:
    block.refuse_unknown(_FIELDS, "a bound")
    response = _number(block, "responseMiB", default.response_bytes / (1 << 20))
    return TenantLimits(
        requests_per_second=_number(block, "requestsPerSecond", default.requests_per_second),
        burst=_count(block, "burst", default.burst),
        concurrency=_count(block, "concurrency", default.concurrency),
        response_bytes=int(response * (1 << 20)),
        query_bytes=_count(block, "queryBytes", default.query_bytes, MAX_QUERY_BYTES),
        range_seconds=_number(block, "rangeSeconds", default.range_seconds),
    )


def _number(block: Fields, name: str, default: float) -> float:
    value = block.value.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not LEAST <= value <= 1e10:
        raise SettingsError(f"{block.name(name)}: a number from {LEAST} to 10000000000 is needed")
    return float(value)


def _count(block: Fields, name: str, default: int, most: int = 1_000_000) -> int:
    value = block.value.get(name)
    if value is None:
        return default
    if type(value) not in (int, float) or not 1 <= value <= most or value != int(value):
        raise SettingsError(f"{block.name(name)}: a whole number from 1 to {most} is needed")
    return int(value)


def _wrong(path: str, reason: str) -> SettingsError:
    return SettingsError(f"{path}: {reason}")

"""Reads tenants' limits from a file: `default`, and `tenants` by name."""

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
"""Smallest value of a fractional limit; a smaller one would in effect be zero, or never refill."""
_FIELDS = frozenset(
    ["requestsPerSecond", "burst", "concurrency", "responseMiB", "queryBytes", "rangeSeconds"]
)


class AllLimits(NamedTuple):
    """Limits of all tenants."""

    default: TenantLimits
    tenants: Mapping[str, TenantLimits]


def read_limits(path: Path, default: TenantLimits) -> AllLimits:
    """Read a file of limits; fields that it omits have their defaults.

    Raises:
        SettingsError: the file cannot be read, or a limit is invalid; names the field.
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
            raise SettingsError(f"{tenants.name(name)}: {name[:63]!r} is not a namespace")
    return AllLimits(usual, {name: _read(tenants.at(name), usual) for name in tenants.value})


def _read(block: Fields, default: TenantLimits) -> TenantLimits:
    block.refuse_unknown(_FIELDS, "a limit")
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
        raise SettingsError(f"{block.name(name)}: an integer from 1 to {most} is needed")
    return int(value)


def _wrong(path: str, reason: str) -> SettingsError:
    return SettingsError(f"{path}: {reason}")

from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.gateway.limit_settings import AllLimits, read_limits
from sidecar.gateway.limits import TenantLimits


def _read(path: Path, text: str) -> AllLimits:
    path.write_text(text)
    return read_limits(path, TenantLimits(concurrency=9))


def test_what_a_file_leaves_out_is_as_by_default(tmp_path: Path) -> None:
    text = """
default: {requestsPerSecond: 5, rangeSeconds: 86400}
tenants:
  shop: {burst: 7, responseMiB: 0.5, queryBytes: 100, concurrency: 3}
  bank:
"""
    limits = _read(tmp_path / "limits", text)

    usual = TenantLimits(requests_per_second=5, range_seconds=86400, concurrency=9)
    assert limits.default == usual
    assert limits.tenants == {
        "shop": usual._replace(burst=7, response_bytes=1 << 19, query_bytes=100, concurrency=3),
        "bank": usual,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("defaults: {}", "defaults: not a field of limits"),
        ("default: {rate: 1}", r"default\.rate: not a limit"),
        ("tenants: {shop: {burst: 0}}", r"tenants\.shop\.burst: an integer from 1"),
        ("tenants: {shop: {burst: yes}}", r"tenants\.shop\.burst: an integer from 1"),
        ("tenants: {shop: 7}", r"tenants\.shop: a mapping is needed"),
        ("tenants: {shop: {burst: 1.9}}", r"tenants\.shop\.burst: an integer from 1"),
        ("default: {responseMiB: 1.0e-9}", r"default\.responseMiB: a number from 0.001"),
        ("tenants: {Shop_1: {burst: 1}}", r"tenants\.Shop_1: 'Shop_1' is not a namespace"),
        ("[", "limits: .*line 1"),
    ],
)
def test_what_is_no_bound_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        _read(tmp_path / "limits", text)

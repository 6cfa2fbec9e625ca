import pytest

from sidecar.errors import SettingsError
from sidecar.gateway.callers.caller import Credentials
from sidecar.gateway.callers.trusted import TrustedHeader, read_sources

pytestmark = pytest.mark.anyio

_SOURCES = read_sources(["10.1.0.0/16", "fd00::/8"])
_PROVIDER = TrustedHeader("x-tenant-namespace", _SOURCES)


def _said(tenants: str, peer: str = "10.1.2.3") -> Credentials:
    return Credentials({"x-tenant-namespace": tenants}, peer)


async def test_a_trusted_source_names_tenants() -> None:
    caller = await _PROVIDER.identify(_said("shop, bank,"))

    assert _PROVIDER.takes(_said("shop"))
    assert caller is not None
    assert caller.tenants == {"shop", "bank"}
    assert caller.name == "the proxy at 10.1.2.3"
    assert not await caller.may_read("/debug/tenants")


@pytest.mark.parametrize("peer", ["10.2.0.1", "fe80::1%eth0", "", "10.1.2.3.4", "localhost"])
def test_nobody_else_s_header_is_believed(peer: str) -> None:
    assert not _PROVIDER.takes(_said("shop", peer))


@pytest.mark.parametrize("peer", ["::ffff:10.1.2.3", "fd00::1"])
def test_a_source_may_come_by_ipv6(peer: str) -> None:
    assert _PROVIDER.takes(_said("shop", peer))


@pytest.mark.parametrize("source", ["::ffff:10.1.0.0/112", "::ffff:10.1.2.3"])
def test_a_source_may_be_written_as_ipv6(source: str) -> None:
    provider = TrustedHeader("x-tenant-namespace", read_sources([source]))

    assert provider.takes(_said("shop", "10.1.2.3"))
    assert not provider.takes(_said("shop", "10.2.2.3"))


async def test_without_the_header_or_names_in_it_nobody_asks() -> None:
    assert not _PROVIDER.takes(Credentials({}, "10.1.2.3"))
    assert await _PROVIDER.identify(_said(" , ")) is None


@pytest.mark.parametrize("text", ["10.0.0.0/33", "mesh", "10.0.0.1/8", ""])
def test_a_range_that_is_none_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match="is not an address range"):
        read_sources([text])

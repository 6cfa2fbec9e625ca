"""Which addresses a receiver may have: a tenant writes its URL, and the proxy connects to it.

The resolved address is checked at each connection: a harmless name may resolve differently later.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from typing import NamedTuple

from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection
from sidecar.model.policy.forward import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(NamedTuple):
    """The addresses that may be connected to."""

    is_service: bool
    """Whether it is a Service of the tenant's own namespace, which may have a private address."""
    allowed: tuple[Network, ...] = ()
    """Ranges that the platform allows without further checks."""
    forbidden: frozenset[Address] = frozenset()
    """Addresses of the cluster's own control plane."""

    def allows(self, address: Address) -> bool:
        """Return whether an address may be connected to."""
        plain = _unmapped(address)
        if any(plain.version == one.version and plain in one for one in self.allowed):
            return True
        if plain in self.forbidden:
            return False
        if plain.is_loopback or plain.is_link_local or plain.is_unspecified or plain.is_multicast:
            return False
        if any(plain.version == one.version and plain in one for one in _NO_RECEIVERS):
            return False
        is_inside = plain.is_private or plain in _SHARED
        return (plain.is_global and not is_inside) or (self.is_service and is_inside)


async def connect(
    host: str,
    addresses: Sequence[str],
    port: int,
    reach: Reach,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
) -> Connection:
    """Connect to the first address of a name that is allowed and accepts the connection.

    Args:
        host: the name.
        addresses: its resolved addresses.
        port: the port.
        reach: the addresses that may be connected to.
        tls: context of the connection; None for plain HTTP.
        server_name: name that the certificate must have; empty for the host.

    Raises:
        UpstreamError: there is no such address; says why for each.
    """
    reasons: list[str] = []
    for address in addresses:
        if not reach.allows(ipaddress.ip_address(address.partition("%")[0])):
            reasons.append(f"{address} is not allowed as a receiver's address")
            continue
        try:
            return await Connection.open(address, port, tls=tls, server_name=server_name or host)
        except UpstreamError as error:
            reasons.append(str(error))
    raise UpstreamError(f"{host}: {'; '.join(reasons) or 'the name has no address'}")


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address that is embedded in an IPv6 one; other addresses unchanged."""
    if isinstance(address, ipaddress.IPv6Address):
        for inner in (address.ipv4_mapped, address.sixtofour):
            if inner is not None:
                return inner
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


_NO_RECEIVERS: tuple[Network, ...] = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "3fff::/20",  # never a host's address
    "192.88.99.0/24", "5f00::/16",  # used by the network itself
    # Instance metadata services of clouds, which serve credentials.
    "168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::254/128", "fd20:ce::254/128",
    "fec0::/10", "64:ff9b:1::/48",  # site-local (deprecated), and NAT64 for local use
    "::/96", "::ffff:0:0:0/96",  # obsolete forms of IPv4 addresses
)))  # fmt: skip
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
"""Some clusters use it for pods and Services; it is neither private nor global."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

"""Authentication by a header that an authenticating proxy in front of the gateway sets.

A client that connects from a trusted source may act as any tenant: list only the proxy's addresses.
"""

import ipaddress
from collections.abc import Sequence

from sidecar.errors import SettingsError
from sidecar.gateway.callers.caller import Credentials, KnownCaller
from sidecar.gateway.tenants import read_names

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedHeader:
    """Trusts a header that names tenants if it comes from a trusted source.

    Args:
        header: its name, in lower case.
        sources: address ranges of the clients that may set it.
    """

    challenge = ""

    def __init__(self, header: str, sources: Sequence[Network]) -> None:
        self._header = header
        self._sources = tuple(sources)
        self.wants = f"the header {header} from a trusted source"

    def takes(self, credentials: Credentials) -> bool:
        """Return whether a trusted source sent the header."""
        return self._header in credentials.headers and self._trusts(credentials.peer)

    def knows(self, credentials: Credentials) -> bool:
        """Return True: there is nothing to check, so nothing is rate limited."""
        return True

    def name_of(self, credentials: Credentials) -> str:
        """Return an empty string: there are no users to guess."""
        return ""

    async def identify(self, credentials: Credentials) -> KnownCaller | None:
        """Return a caller that may act as the named tenants; None if the header names none."""
        named = frozenset(read_names(credentials.headers[self._header]))
        return KnownCaller(f"the proxy at {credentials.peer}", named) if named else None

    def _trusts(self, peer: str) -> bool:
        try:
            address: _Address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in source for source in self._sources)


def read_sources(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parse address ranges such as `10.0.0.0/8`.

    Raises:
        SettingsError: a text is not an address range.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(_unmapped(ipaddress.ip_network(text)))
        except ValueError as error:
            raise SettingsError(f"{text[:60]!r} is not an address range: {error}") from error
    return tuple(found)


def _unmapped(network: Network) -> Network:
    """Return an IPv4-mapped range (in `::ffff:0:0/96`) as IPv4: peers are compared as IPv4."""
    first = network.network_address
    mapped = first.ipv4_mapped if isinstance(first, ipaddress.IPv6Address) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))

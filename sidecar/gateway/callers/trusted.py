"""Callers by a header that a proxy in front sets, which authenticated them.

Whoever connects from a trusted source may be any tenant: only that proxy's addresses belong there.
"""

import ipaddress
from collections.abc import Sequence

from sidecar.errors import SettingsError
from sidecar.gateway.callers.caller import Credentials, KnownCaller
from sidecar.gateway.tenants import read_names

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedHeader:
    """Believes a header that names tenants, from some sources.

    Args:
        header: its name, in lower case.
        sources: address ranges of whoever may set it.
    """

    challenge = ""

    def __init__(self, header: str, sources: Sequence[Network]) -> None:
        self._header = header
        self._sources = tuple(sources)
        self.wants = f"the header {header} from a trusted source"

    def takes(self, credentials: Credentials) -> bool:
        """Tell whether a trusted source sent the header."""
        return self._header in credentials.headers and self._trusts(credentials.peer)

    def knows(self, credentials: Credentials) -> bool:
        """Tell that nothing is to be found out."""
        return True

    def name_of(self, credentials: Credentials) -> str:
        """Return nothing: there is nobody to be guessed."""
        return ""

    async def identify(self, credentials: Credentials) -> KnownCaller | None:
        """Return a caller that may be the tenants that are named; None where none is."""
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
    """Read address ranges, as `10.0.0.0/8`.

    Raises:
        SettingsError: one is none.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(_unmapped(ipaddress.ip_network(text)))
        except ValueError as error:
            raise SettingsError(f"{text[:60]!r} is not an address range: {error}") from error
    return tuple(found)


def _unmapped(network: Network) -> Network:
    """Return the IPv4 range that one of `::ffff:0:0/96` stands for: peers are compared as IPv4."""
    first = network.network_address
    mapped = first.ipv4_mapped if isinstance(first, ipaddress.IPv6Address) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))

"""Addresses that are one client's."""

import ipaddress


def network_of(peer: str) -> str:
    """Return what one client's addresses have in common: of IPv6 it has 2⁶⁴."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))

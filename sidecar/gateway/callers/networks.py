"""Addresses that belong to one client."""

import ipaddress


def network_of(peer: str) -> str:
    """Return the network of one client: the /64 of an IPv6 address, an IPv4 address itself."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))

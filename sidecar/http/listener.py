"""Listening sockets. Shared with the injector, so it imports nothing else of the proxy."""

import socket


def open_socket(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """Open a listening socket.

    Args:
        host: an address; empty for all, IPv6 and IPv4.
        port: the port; 0 for one that the system chooses.
        backlog: connections that may wait to be accepted.

    Raises:
        OSError: the port is in use, or not permitted.
    """
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    if not host and not socket.has_dualstack_ipv6():
        family = socket.AF_INET
    listener = socket.create_server(
        (host, port),
        family=family,
        backlog=backlog,
        dualstack_ipv6=not host and family is socket.AF_INET6,
    )
    # Connections inherit it; asyncio sets it only on sockets with an explicit protocol. Without it,
    # the end of a large response waits for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener

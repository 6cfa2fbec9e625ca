"""Ports for programs that cannot choose a free one."""

import socket


def free_port() -> int:
    """Returns a loopback port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

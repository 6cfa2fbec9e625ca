"""Hosts in URLs."""


def bracket(host: str) -> str:
    """Put an IPv6 address in brackets; names and IPv4 addresses stay unchanged."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host

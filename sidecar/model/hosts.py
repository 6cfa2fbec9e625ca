"""Hosts as URLs have them."""


def bracket(host: str) -> str:
    """Put an IPv6 address into brackets; a name or an IPv4 address holds no colon."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host

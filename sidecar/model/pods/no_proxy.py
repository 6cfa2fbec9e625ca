"""Which hosts are reached without a proxy, by the rules of Go programs for `NO_PROXY`.

Source: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
"""

from ipaddress import ip_address, ip_network


def bypasses_proxy(host: str, port: int, no_proxy: str) -> bool:
    """Return whether a host is reached directly.

    Args:
        host: a name, or an IP address without brackets.
        port: the port of the connection.
        no_proxy: comma-separated names (which include their subdomains; with a leading dot, only
            the subdomains), IP addresses and CIDRs; all but CIDRs may have a port; `*` for all.
            Other entries match nothing.
    """
    host = host.lower().rstrip(".")
    if host == "localhost" or _is_loopback(host):
        return True
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_names(entry, host, port) for entry in entries if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_within(host, entry)
    name, wanted = _split_port(entry)
    if wanted and wanted != str(port):
        return False
    if _is_same_address(name, host):
        return True
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = entry.rpartition(":")
    # More than one colon is an IPv6 address.
    return (name, port) if name and ":" not in name else (entry, "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_within(host: str, cidr: str) -> bool:
    try:
        return ip_address(host) in ip_network(cidr, strict=False)
    except ValueError:
        return False


def _is_same_address(one: str, other: str) -> bool:
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False

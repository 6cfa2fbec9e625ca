"""Describes system errors of connections in plain words."""

import errno
import os
import re
import ssl
from collections.abc import Iterable

from sidecar.errors import UpstreamError

_NUMBERS: dict[type, int] = {
    ConnectionResetError: errno.ECONNRESET,
    ConnectionAbortedError: errno.ECONNABORTED,
    ConnectionRefusedError: errno.ECONNREFUSED,
    BrokenPipeError: errno.EPIPE,
}
"""Numbers of errors that asyncio raises without one."""
_ERRNO = re.compile(r"\[Errno (-?\d+)\]")


class ConnectError(UpstreamError):
    """A connection could not be established.

    Attributes:
        host: name or address that was tried.
        port: the port.
        reason: one clause, such as `connection refused`.
    """

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"{reason} on port {port} ({host})")
        self.host = host
        self.port = port
        self.reason = reason


def describe(error: BaseException) -> str:
    """Return the meaning of a system or TLS error, as a clause without its number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError) and not error.args:
        return "timed out"
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    number = error.errno or _NUMBERS.get(type(error))
    if number is None:  # asyncio joins several attempts into one text
        found = _ERRNO.search(str(error))
        number = int(found[1]) if found else None
    if number is None or number <= 0:
        return (error.strerror or str(error) or type(error).__name__).lower()
    return os.strerror(number).lower()


def join_failures(failures: Iterable[ConnectError]) -> str:
    """Describe why no address of a server could be reached; equal reasons are listed once."""
    hosts: dict[tuple[str, int], list[str]] = {}
    for failure in failures:
        hosts.setdefault((failure.reason, failure.port), []).append(failure.host)
    return "; ".join(
        f"{reason} on port {port} ({', '.join(dict.fromkeys(names))})"
        for (reason, port), names in hosts.items()
    )

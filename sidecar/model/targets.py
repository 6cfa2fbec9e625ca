"""Addresses of a workload's metrics endpoints: `name=scheme://host:port/path`.

In a pod the host is empty and means the pod itself. In a list of targets, a comma within a target
is percent-encoded.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from sidecar.errors import TargetError

MAX_PATH_BYTES = 2048
MAX_TARGETS = 16
_TARGET = re.compile(
    r"(?:(?P<name>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)=)?"
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://"
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*)"
    r"(?::(?P<port>[A-Za-z0-9-]+))?"
    r"(?P<path>/.*)?",
    re.DOTALL,
)
_PATH = re.compile(r"/[!-~]*")
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|\[?::1\]?|")


class Target(NamedTuple):
    """One endpoint of a workload."""

    name: str
    """The container's name; the value of the target label."""
    scheme: str
    host: str
    """Empty for the pod itself: loopback is tried first, then the pod's own address."""
    port: int
    path: str
    """Path and query."""
    is_guess: bool = False
    """Whether the port was guessed: several ports are declared, and any may serve metrics."""

    def __str__(self) -> str:
        """Return the form that `parse_target` reads."""
        name = f"{self.name}=" if self.name else ""
        return f"{name}{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def url(self) -> str:
        """The address that is scraped."""
        return f"{self.scheme}://{self.host or 'localhost'}:{self.port}{self.path}"


class RawTarget(NamedTuple):
    """A target as written: its port may still be a name."""

    name: str
    scheme: str
    host: str
    port: str
    path: str


def parse_raw_target(text: str) -> RawTarget:
    """Parse a target whose port may be the name of a container port.

    Raises:
        TargetError: it is not `[name=]http[s]://[host][:port][/path]`.
    """
    shown = repr(text[:80])
    match = _TARGET.fullmatch(text)
    if match is None:
        raise TargetError(f"{shown} is not [container=]http://:port/path")
    scheme = match["scheme"].lower()
    if scheme not in ("http", "https"):
        raise TargetError(f"{shown}: scheme {scheme!r} is neither http nor https")
    port = match["port"] or ("443" if scheme == "https" else "80")
    return RawTarget(match["name"] or "", scheme, match["host"], port, check_path(match["path"]))


def parse_target(text: str, *, allows_remote: bool = False) -> Target:
    """Parse a target.

    Raises:
        TargetError: it is malformed, its port is not a number from 1 to 65535, or its host is not
            a loopback address and `allows_remote` is false.
    """
    raw = parse_raw_target(text)
    if not allows_remote and _LOOPBACK.fullmatch(raw.host) is None:
        raise TargetError(
            f"{raw.host!r} is not a loopback address; --allow-remote-targets permits others"
        )
    return Target(raw.name, raw.scheme, raw.host, parse_port(raw.port), raw.path)


def parse_port(text: str) -> int:
    """Parse a port number.

    Raises:
        TargetError: it is not a number from 1 to 65535, or has leading zeros.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text, re.ASCII) or int(text) > 65535:
        raise TargetError(f"port {text[:40]!r} is not a number from 1 to 65535")
    return int(text)


def check_path(path: str | None) -> str:
    """Return a path that is valid in a request line; `/metrics` if none is given.

    Raises:
        TargetError: it does not begin with `/`, is too long, or contains a space, a control or a
            non-ASCII character.
    """
    if not path:
        return "/metrics"
    if len(path) > MAX_PATH_BYTES:
        raise TargetError(f"the path has {len(path)} characters; {MAX_PATH_BYTES} are allowed")
    if not path.startswith("/"):
        raise TargetError(f"path {path[:80]!r} does not begin with /")
    if _PATH.fullmatch(path) is None:
        raise TargetError(f"path {path[:80]!r} has a space, a control or a non-ASCII character")
    return path


def split_targets(text: str) -> list[str]:
    """Split a comma-separated list of targets; a comma within a target is written `%2C`.

    Raises:
        TargetError: there are more than `MAX_TARGETS`.
    """
    parts = [part.strip() for part in text.split(",")]
    parts = [re.sub("%2[cC]", lambda match: unquote(match[0]), part) for part in parts if part]
    if len(parts) > MAX_TARGETS:
        raise TargetError(f"{len(parts)} targets; at most {MAX_TARGETS} are allowed")
    return parts

"""The head of an HTTP/1.x response: status, headers, and where its body ends.

A response is parsed as leniently as by Go's client, because that is what scrapes applications
today: lines may end in a bare LF, values may be folded, a length may be repeated. The length of the
body is decided here and nowhere else.

Sources: RFC 9112 sections 4 to 6; Go's `net/textproto` and `net/http` for what is tolerated.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from sidecar.errors import UpstreamError

_STATUS_LINE = re.compile(r"HTTP/(\d)\.(\d) +(\d{3})(?: .*)?", re.ASCII)
_LINE = r"[!#$%&'*+.^_`|~0-9A-Za-z-][!#$%&'*+.^_`|~0-9A-Za-z -]*+:[^\x00-\x08\x0a-\x1f\x7f]*+"
_HEADERS = re.compile(rf"{_LINE}(?:\n{_LINE})*+")
"""A name that contains blanks is accepted, but is not the header that it resembles."""
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_BODILESS = (204, 304)


class Framing(Enum):
    """How the end of a response's body is recognised."""

    NONE = auto()
    """The response has no body."""
    LENGTH = auto()
    """It ends after as many bytes as Content-Length announces."""
    CHUNKED = auto()
    """It ends after the last chunk and the trailers."""
    CLOSE = auto()
    """It ends when the server closes the connection."""


class Head(NamedTuple):
    """A response without its body."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; the first value of a repeated header."""
    framing: Framing
    length: int
    """Bytes of the body if the framing is `LENGTH`, else 0."""
    keeps_alive: bool
    """Whether the server takes another request on this connection."""

    @property
    def is_interim(self) -> bool:
        """Whether the real response is still to come."""
        return 100 <= self.status < 200


def parse_head(block: bytes) -> Head:
    """Read a response's status line and headers.

    Args:
        block: the bytes before the empty line, without it.

    Raises:
        UpstreamError: it is not HTTP/1.x, or Go's client would refuse it; names the line.
    """
    first, *lines = block.decode("latin-1").replace("\r\n", "\n").split("\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise UpstreamError(f"the response is not HTTP/1.1: it begins with {first[:60]!r}")
    is_old = (match[1], match[2]) < ("1", "1")
    headers, repeated = _read_headers(lines)
    framing, length = _frame(int(match[3]), headers, repeated, is_old=is_old)
    return Head(
        int(match[3]),
        headers,
        framing,
        length,
        framing is not Framing.CLOSE and _keeps_alive(headers, repeated, is_old=is_old),
    )


def _read_headers(lines: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the first value of each header, and the further values of repeated ones."""
    if lines and _HEADERS.fullmatch("\n".join(lines)) is None:
        if any(line[:1] in (" ", "\t") for line in lines):
            return _read_headers(_unfold(lines))
        wrong = next(line for line in lines if _HEADERS.fullmatch(line) is None)
        raise UpstreamError(f"the response has a header line that is not valid: {wrong[:60]!r}")
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers:
            repeated.setdefault(name, []).append(value.strip(" \t"))
        else:
            headers[name] = value.strip(" \t")
    return headers, repeated


def _unfold(lines: list[str]) -> list[str]:
    """Join lines that begin with a blank to the line before (obsolete, but still sent)."""
    unfolded: list[str] = []
    for line in lines:
        if line[:1] not in (" ", "\t"):
            unfolded.append(line)
        elif not unfolded:
            raise UpstreamError(f"the first header line begins with a blank: {line[:60]!r}")
        else:
            unfolded[-1] = " ".join((unfolded[-1].rstrip(" \t"), line.strip(" \t")))
    return unfolded


def _frame(
    status: int, headers: Mapping[str, str], repeated: Mapping[str, list[str]], *, is_old: bool
) -> tuple[Framing, int]:
    if not is_old and "transfer-encoding" in headers:
        codings = [headers["transfer-encoding"], *repeated.get("transfer-encoding", [])]
        # With any other coding, or several, the body's length is unknown: RFC 9112 section 6.1.
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise UpstreamError(f"unsupported Transfer-Encoding: {', '.join(codings)[:60]!r}")
        return (Framing.NONE if status in _BODILESS else Framing.CHUNKED), 0
    if status in _BODILESS or status < 200:
        return Framing.NONE, 0
    length = headers.get("content-length")
    if length is None:
        return Framing.CLOSE, 0
    lengths = {length, *repeated.get("content-length", [])}
    if len(lengths) > 1 or _LENGTH.fullmatch(length) is None:
        raise UpstreamError(f"invalid Content-Length: {', '.join(lengths)[:60]!r}")
    return (Framing.LENGTH, int(length)) if int(length) else (Framing.NONE, 0)


def _keeps_alive(
    headers: Mapping[str, str], repeated: Mapping[str, list[str]], *, is_old: bool
) -> bool:
    if "connection" not in headers:
        return not is_old
    values = ",".join((headers["connection"], *repeated.get("connection", [])))
    tokens = {token.strip(" \t") for token in values.lower().split(",")}
    return "close" not in tokens and (not is_old or "keep-alive" in tokens)

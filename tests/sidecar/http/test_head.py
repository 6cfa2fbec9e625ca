import asyncio
import itertools

import pytest

from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection, render_request
from sidecar.http.head import Framing, parse_head
from tests.real_parts.oracle import Oracle
from tests.sidecar.apps import App

_OK = b"HTTP/1.1 200 OK\r\n"

_HEADS = [
    b"", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200\r\n", b"HTTP/1.1  200 OK\r\n", b"HTTP/1.0 200 OK\r\n",
    b"HTTP/0.9 200 OK\r\n", b"HTTP/2.0 200 OK\r\n", b"HTTP/1.10 200 OK\r\n", b"http/1.1 200 OK\r\n",
    b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1\r\n",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n", b"ICY 200 OK\r\n",
    b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 304 Not\r\n", b"HTTP/1.1 500 Oh\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 \xff\r\n", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n",
]  # fmt: skip
_LINES = [
    b"", b"Content-Length: 4\r\n", b"content-length:4\n",
    b"Content-Length: 4\r\nContent-Length: 4\r\n",
    b"Content-Length: 4\r\nContent-Length: 5\r\n", b"Content-Length: 4, 4\r\n",
    b"Content-Length: +4\r\n", b"Content-Length: 0x4\r\n", b"Content-Length:\r\n",
    b"Content-Length: 4 \r\n", b"Content-Length: 04\r\n", b"Content-Length: 9\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length : 4\r\n", b"Content-Length: 0\r\n", b"Content-Length: 2\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: Chunked\r\n",
    b"transfer-encoding:  CHUNKED \n", b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: \r\n", b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"X: a\r\n b\r\n", b" X: a\r\n",
    b"X-App : v\r\n", b"X App: v\r\n", b": v\r\n", b"no colon\r\n", b"X: a\0b\r\n", b"X: a\rb\r\n",
    b"X\xe9: v\r\n", b"X: \xe9\r\n", b"Content-Type: text/plain\r\nContent-Type: text/html\r\n",
    b"Content-Type: text/plain;\r\n\tversion=0.0.4\r\n", b"Connection: close\r\n", b"X:\r\n",
    b"Connection: keep-alive\r\nContent-Length: 4\r\n", b"X(: v\r\n", b"\tX: v\r\n",
    b"X: a\x7f\r\n",
]  # fmt: skip
_BODIES = [
    b"", b"a 1\n", b"a 1\nb 2\n", b"4\r\na 1\n\r\n0\r\n\r\n", b"4\r\na 1\n\r\n",
    b"4\r\na 1\n\r\n0\r\n",
    b"2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n", b"4 \r\na 1\n\r\n0\r\n\r\n",
    b"4;x=y\r\na 1\n\r\n0\r\n\r\n",
    b"04\r\na 1\n\r\n00\r\n\r\n", b"0x4\r\na 1\n\r\n0\r\n\r\n", b"4\r\na 1\n",
    b"ffffffffffffffff\r\na",
    b"4\r\na 1\n\r\n0\r\nX: y\r\n\r\n", b"5\r\na 1\n\r\n0\r\n\r\n", b"-4\r\na 1\n\r\n0\r\n\r\n",
    b"4\r\na 1\n\r\n0\r\n\r\nmore",
]  # fmt: skip


def _cases() -> list[bytes]:
    """Each header with plain status lines, each status line with plain headers, with every body."""
    plain = [_OK, b"HTTP/1.0 200 OK\r\n"]
    framed = [
        b"", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"X: y\r\n",
        b"Transfer-Encoding: Chunked\r\nConnection: close\r\n",
    ]  # fmt: skip
    pairs = [*itertools.product(plain, _LINES), *itertools.product(_HEADS, framed)]
    return [
        head + lines + b"\r\n" + body for (head, lines), body in itertools.product(pairs, _BODIES)
    ]


async def _read(app: App, raw: bytes) -> tuple[int, bytes, str] | None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    app.answer = answer
    connection = await Connection.open("127.0.0.1", app.port)
    try:
        status = await connection.send(render_request("GET", "/", {"Host": "x"}))
        body = b""
        while part := await connection.read():
            body += part
    except UpstreamError:
        return None
    finally:
        connection.close()
    return status, body, connection.headers.get("content-type", "")


@pytest.mark.anyio
async def test_what_gos_client_reads_is_read_and_nothing_else(oracle: Oracle) -> None:
    differing: list[tuple[bytes, object, object]] = []
    cases = _cases()
    async with App(b"") as app:
        for raw in cases:
            ours, theirs = await _read(app, raw), oracle.http(raw)
            if ours != theirs:
                differing.append((raw, ours, theirs))

    assert len(cases) > 1500
    assert differing == []


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
@pytest.mark.anyio
async def test_a_chunk_that_breaks_off_is_never_a_whole_body(coding: str) -> None:
    head = _OK + b"Transfer-Encoding: %b\r\nConnection: close\r\n\r\n" % coding.encode()
    async with App(b"") as app:
        assert await _read(app, head + b"e\r\nbalance 123") is None


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        (b"", Framing.CLOSE), (b"\r\nContent-Length: 0", Framing.NONE),
        (b"\r\nContent-Length: 1", Framing.LENGTH),
        (b"\r\nTransfer-Encoding: chunked", Framing.CHUNKED),
    ],
)  # fmt: skip
def test_the_end_of_a_body_is_decided_with_its_head(lines: bytes, framing: Framing) -> None:
    assert parse_head(_OK.rstrip() + lines).framing is framing


@pytest.mark.parametrize(
    ("lines", "keeps_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1", True), (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x\r\nConnection: Close", False),
    ],
)  # fmt: skip
def test_a_connection_is_kept_where_the_server_keeps_it(lines: bytes, keeps_alive: bool) -> None:
    assert parse_head(lines).keeps_alive is keeps_alive


def test_a_refusal_names_the_line() -> None:
    with pytest.raises(UpstreamError, match="a header line that is not valid: 'no colon'"):
        parse_head(_OK + b"no colon")

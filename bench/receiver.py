"""A remote-write receiver that counts samples: `python -m bench.receiver`; GET / returns the count.

It counts in a thread after it has responded, so that the sender never waits for it.
"""

import asyncio
import sys

import cramjam

from sidecar.model.remote_write.refused import split_series

_TAKEN = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
_counted = 0


def _count(body: bytes) -> int:
    return len(split_series(bytes(cramjam.snappy.decompress_raw(body))))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    global _counted
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if head.startswith(b"get"):
                text = str(_counted).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
                continue
            size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(size)
            writer.write(_TAKEN)
            count = await asyncio.to_thread(_count, body)
            _counted += count  # other connections may have counted meanwhile
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(_serve()))

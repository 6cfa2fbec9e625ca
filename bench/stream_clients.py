"""Clients of many policy streams, as light as possible so that they do not distort the result.

For each word on standard input, prints the times at which the streams received it.
"""

import asyncio
import json
import ssl
import sys
import time

from bench.rig import NAME

AT_ONCE = 50


class _Stream(asyncio.Protocol):
    """One stream; received data is searched for the word, not kept."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.word = b"\0"
        self.arrived: asyncio.Future[float] | None = None
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined] # it is a TLS transport

    def connection_lost(self, exc: Exception | None) -> None:
        print("a stream ended", exc, file=sys.stderr, flush=True)

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
        if self.word in data and self.arrived is not None and not self.arrived.done():
            self.arrived.set_result(time.time())


async def main(port: int, ca_bundle: str, count: int, first: int) -> None:
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context(cafile=ca_bundle)
    authorizer = asyncio.Semaphore(AT_ONCE)

    async def connect(number: int) -> _Stream:
        request = (
            f"GET /v1/policy?role=pod HTTP/1.1\r\nHost: {NAME}\r\n"
            f"Authorization: Bearer token-{1 + (first + number) // 3}\r\n\r\n"
        ).encode()
        async with authorizer:
            _, stream = await loop.create_connection(
                lambda: _Stream(request), "127.0.0.1", port, ssl=tls, server_hostname=NAME
            )
            await stream.begun
        return stream

    await loop.run_in_executor(None, sys.stdin.readline)
    streams = await asyncio.gather(*(connect(number) for number in range(count)))
    while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        for stream in streams:
            stream.word = f'"{word}"'.encode()
            stream.arrived = loop.create_future()
        print("ready", flush=True)
        arrivals = await asyncio.gather(*(item.arrived for item in streams if item.arrived))
        print(json.dumps(arrivals), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

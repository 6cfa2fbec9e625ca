"""A TCP proxy for tests: connections that are slow, cut, half open, or answered by the proxy."""

import asyncio
import contextlib
from typing import Self


class Tunnel:
    """Forwards connections to a port, with faults on demand."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        """0 if there is no target."""
        self.delay_seconds = 0.0
        self.is_silent = False
        """Whether data is dropped silently in both directions."""
        self.answer = b""
        """A response in place of the target's; empty to forward the target's own."""
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Abort all connections."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.answer:
                await self._answer(reader, writer)
            else:
                await self._pass(reader, writer)
        self._open.discard(writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(size)
        writer.write(self.answer)
        await writer.drain()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", self.target_port)
        self._open.add(ahead)
        done, waiting = await asyncio.wait(
            [
                asyncio.ensure_future(self._copy(reader, ahead)),
                asyncio.ensure_future(self._copy(behind, writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in (*done, *waiting):
            task.cancel()
        self._open.discard(ahead)
        ahead.close()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await source.read(65536):
                await asyncio.sleep(self.delay_seconds)
                if not self.is_silent:
                    sink.write(part)
                    await sink.drain()

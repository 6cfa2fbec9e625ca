"""A server with pages that are slow, large or broken."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.http.messages import Request, Response, plain
from sidecar.http.server import Server

BIG = b"x" * (20 << 20)


class Site:
    """A server with pages that are slow, large or broken."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.gate = asyncio.Event()
        self.cancelled = 0
        self.server = Server(self._handle)
        self.port = 0

    async def _handle(self, request: Request) -> Response:
        self.requests.append(request)
        pages: dict[str, Callable[[], Awaitable[Response]]] = {"/slow": self._slow}
        if request.path == "/broken":
            raise ZeroDivisionError
        if request.path == "/big":
            return Response(200, BIG)
        return await pages[request.path]() if request.path in pages else plain(200, "hello")

    async def _slow(self) -> Response:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return plain(200, "at last")

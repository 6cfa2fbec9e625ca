"""An app behind the injector's own server, and raw connections to it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from starlette.types import ASGIApp

from injector.web.servers import DEFAULT_BUDGET, AppServer, PortBudget
from sidecar.http.listener import open_socket


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, tls: ssl.SSLContext | None = None, budget: PortBudget = DEFAULT_BUDGET
) -> AsyncIterator[int]:
    """Serve an app on the loopback; gives its port."""
    server = AppServer(app, open_socket("127.0.0.1", 0), tls, budget)
    stop = asyncio.Event()
    task = asyncio.create_task(server.run_until(stop))
    try:
        yield server.port
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def send(port: int, request: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection and send a request, which may be incomplete."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    return reader, writer


async def ask(port: int, request: str) -> str:
    """Send a request, which may be incomplete; returns everything until the server closes."""
    reader, writer = await send(port, request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer.decode()

"""Many pods in one process, each a separate port that exposes the same families."""

import asyncio
import itertools
import sys

from bench.exposition import application_text
from sidecar.http.messages import Request, Response
from sidecar.http.server import Server


async def main() -> None:
    pods, series = int(sys.argv[1]), int(sys.argv[2])
    bodies = itertools.cycle([application_text(series, turn) for turn in range(1, 21)])

    async def handle(request: Request) -> Response:
        return Response(200, next(bodies), "text/plain; version=0.0.4")

    servers = [Server(handle) for _ in range(pods)]
    print(*[await server.start("127.0.0.1", 0) for server in servers], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

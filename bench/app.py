"""An application to scrape, as cheap as possible so that the proxy is what is measured."""

import asyncio
import itertools
import sys

from bench.exposition import application_text
from sidecar.http.messages import Request, Response
from sidecar.http.server import Server


async def main() -> None:
    series = int(sys.argv[1])
    bodies = itertools.cycle([application_text(series, turn) for turn in range(1, 21)])

    async def handle(request: Request) -> Response:
        return Response(200, next(bodies), "text/plain; version=0.0.4")

    server = Server(handle)
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

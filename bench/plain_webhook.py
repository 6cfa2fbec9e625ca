"""A webhook that admits everything, on the usual stack: the cost of HTTP, TLS and JSON alone."""

import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def admit(request: Request) -> Response:
    review = json.loads(await request.body())
    answer = {"uid": review["request"]["uid"], "allowed": True}
    return Response(
        json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer})
    )


uvicorn.run(
    Starlette(routes=[Route("/mutate", admit, methods=["POST"])]),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    ssl_certfile=sys.argv[2],
    ssl_keyfile=sys.argv[2],
    log_level="error",
    access_log=False,
)

"""A stub of Prometheus that answers each query with 1,000 series: `python -m bench.vector`."""

import asyncio
import json
import time
from urllib.parse import parse_qs

from sidecar.http.messages import Request, Response
from sidecar.http.server import Server

_SERIES = 1000


async def main() -> None:
    labels = [
        {
            "__name__": f"http_requests_{number % 20}_total",
            "namespace": "shop",
            "pod": f"web-{number // 20}-7d5f9c6b8",
            "path": f"/api/v1/orders/{number}",
            "code": "200",
            "job": "web",
            "instance": f"10.0.{number // 20}.7:8080",
        }
        for number in range(_SERIES)
    ]

    async def handle(request: Request) -> Response:
        moment = float(parse_qs(request.body.decode()).get("time", ["0"])[0] or time.time())
        result = [
            {"metric": item, "value": [moment, str(number + moment % 1000)]}
            for number, item in enumerate(labels)
        ]
        data = {"resultType": "vector", "result": result}
        body = json.dumps({"status": "success", "data": data}).encode()
        return Response(200, body, "application/json")

    server = Server(handle, keeps_bodies=True)
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

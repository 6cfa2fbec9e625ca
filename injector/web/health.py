"""Health checks and the injector's own metrics, on a separate port."""

from collections.abc import Callable

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from injector.web.metrics import InjectorMetrics


def build_health_app(metrics: InjectorMetrics, unready: Callable[[], str]) -> Starlette:
    """Build the app behind the metrics port.

    Args:
        metrics: served at `/metrics`.
        unready: returns the reason why the process is not ready; empty if it is.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = unready()
        return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)

    async def show_metrics(request: Request) -> Response:
        try:
            encode, media_type = choose_encoder(request.headers.get("accept", ""))
        except (ValueError, TypeError):  # an invalid version: fall back to the text format
            encode, media_type = choose_encoder("")
        return Response(encode(metrics.registry), media_type=media_type)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", show_metrics),
        ]
    )

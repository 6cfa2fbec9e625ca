"""The admin port, alike in every role: health, readiness and the proxy's own metrics."""

from collections.abc import Callable

from sidecar.http.messages import Response, plain


def answer_admin(path: str, unready: str, render_metrics: Callable[[], bytes]) -> Response:
    """Answer on the admin port.

    Args:
        path: what is asked for.
        unready: why scrapes are refused; empty where they are not.
        render_metrics: writes the proxy's own metrics.
    """
    if path == "/healthz":
        return plain(200, "ok")
    if path == "/readyz":
        return plain(503, unready) if unready else plain(200, "ok")
    if path == "/metrics":
        return Response(200, render_metrics(), "text/plain; version=0.0.4; charset=utf-8")
    return plain(404, "/metrics, /healthz and /readyz are served here")

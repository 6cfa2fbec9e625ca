"""The admin port, the same in every role: health, readiness and the proxy's own metrics."""

from collections.abc import Callable

from sidecar.http.messages import Response, plain
from sidecar.process.readiness import Readiness


def answer_admin(
    path: str, readiness: Readiness, render_metrics: Callable[[], bytes], *others: str
) -> Response:
    """Handle a request on the admin port.

    Args:
        path: path of the request.
        readiness: readiness of the proxy.
        render_metrics: writes the proxy's own metrics.
        others: paths that the role serves itself.
    """
    if path == "/healthz":
        return plain(200, "ok")
    if path == "/readyz":
        lines = [f"{reason}: {sentence}" for reason, sentence in readiness.obstacles]
        return plain(503, "\n".join(lines)) if lines else plain(200, "ok")
    if path == "/metrics":
        return Response(200, render_metrics(), "text/plain; version=0.0.4; charset=utf-8")
    served = ", ".join([*others, "/metrics", "/healthz"])
    return plain(404, f"not found; paths served here: {served}, /readyz")

"""The demo's application: a small web server with counters, histograms and exemplars."""

import argparse
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BUCKETS = (0.01, 0.05, 0.1, 0.5)
_STEP_SECONDS = 5.0
"""Interval at which counters rise: two scrapes in quick succession return equal values."""
_STARTED = time.monotonic()


def render_metrics(step: int, *, openmetrics: bool) -> str:
    """Write the application's metrics as they are after `step` steps."""
    lines = ["# HELP http_requests Requests served.", "# TYPE http_requests counter"]
    if not openmetrics:
        lines = [line.replace("http_requests", "http_requests_total") for line in lines]
    for method, code in (("GET", "200"), ("POST", "200"), ("GET", "500")):
        count = step * (7 if code == "200" else 1)
        lines.append(f'http_requests_total{{method="{method}",code="{code}"}} {count}')
    name = "http_request_duration_seconds"
    lines += [f"# HELP {name} Time to serve a request.", f"# TYPE {name} histogram"]
    for index, bound in enumerate((*_BUCKETS, "+Inf"), 1):
        exemplar = f' # {{trace_id="{step:08x}"}} 0.043 {time.time():.3f}' if openmetrics else ""
        lines.append(f'{name}_bucket{{le="{bound}"}} {step * index}{exemplar}')
    lines += [f"{name}_sum {step * 0.31:.2f}", f"{name}_count {step * 5}"]
    lines += ["# HELP queue_depth Waiting jobs.", "# TYPE queue_depth gauge"]
    lines.append(f"queue_depth {step % 10}")
    return "\n".join([*lines, *(["# EOF"] if openmetrics else []), ""])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        openmetrics = "application/openmetrics-text" in self.headers.get("Accept", "")
        step = 1 + int((time.monotonic() - _STARTED) / _STEP_SECONDS)
        body = render_metrics(step, openmetrics=openmetrics).encode()
        kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        self.send_response(200)
        self.send_header("Content-Type", kind if openmetrics else "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the demo prints what matters."""


def main() -> int:
    """Print the port, and serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    # As PID 1 of a container it would ignore SIGTERM, and its pod would take 30 seconds to stop.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", given.port), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

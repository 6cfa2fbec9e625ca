"""Pods that no kubelet runs: their status is Running, and a real server answers for them."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cluster.fixtures import Namespace

_ADDRESSES = itertools.count(2)
_MERGE = "application/merge-patch+json"


class Workload:
    """Pods of one workload, each with its own loopback address, all on one port."""

    def __init__(self, namespace: Namespace, server: "Server") -> None:
        self.namespace = namespace
        self._server = server

    def add(
        self, name: str, body: bytes | None = b"requests_total 1\n", **metadata: Any
    ) -> dict[str, Any]:
        """Create a pod that answers with a body, or never if the body is None."""
        number = next(_ADDRESSES)
        address = f"127.1.{number >> 8}.{number & 255}"
        self._server.bodies[address] = body
        labels = {"app": "web", **metadata.pop("labels", {})}
        annotations = {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(self._server.port),
            **metadata.pop("annotations", {}),
        }
        made = self.namespace.create(
            "pods",
            name,
            metadata={"labels": labels, "annotations": annotations},
            spec={"containers": [{"name": "web", "image": "registry.example/web:1"}]},
        )
        self.set_status(name, phase="Running", podIP=address, podIPs=[{"ip": address}])
        return made

    def set_status(self, name: str, **status: Any) -> None:
        self.namespace.client.request(
            "PATCH", f"{self.namespace.path}/pods/{name}/status", body={"status": status},
            content_type=_MERGE,
        )  # fmt: skip

    def annotate(self, name: str, **annotations: str | None) -> None:
        patch = {
            "metadata": {"annotations": {f"prometheus.io/{k}": v for k, v in annotations.items()}}
        }
        self.namespace.client.request(
            "PATCH", f"{self.namespace.path}/pods/{name}", body=patch, content_type=_MERGE
        )

    def remove(self, name: str) -> None:
        self.namespace.client.request(
            "DELETE", f"{self.namespace.path}/pods/{name}", query={"gracePeriodSeconds": "0"}
        )


class Server(ThreadingHTTPServer):
    """Answers on all loopback addresses, with one body per address."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("", 0), _Handler)
        self.port = self.server_address[1]
        self.bodies: dict[str, bytes | None] = {}
        self.has_ended = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = server.bodies.get(self.connection.getsockname()[0], b"")
        if body is None:
            server.has_ended.wait(60)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_server() -> Iterator[Server]:
    """Run the server of a test's pods."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.has_ended.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def wait_for_text(read: Callable[[], object], *wanted: str, seconds: float = 20.0) -> str:
    """Read repeatedly until all the texts are there."""
    deadline = time.monotonic() + seconds
    while True:
        text = str(read())
        if all(item in text for item in wanted):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)

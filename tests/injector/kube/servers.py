"""A fake API server that misbehaves as a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import Configuration

from injector.kube.api.client import KubeClient

Answer = tuple[int, bytes]
Handle = Callable[[str, dict[str, str]], Answer | Iterator[bytes]]


def listed(version: str, *names: str, following: str = "") -> Answer:
    """A list, or a page of one."""
    items = [{"metadata": {"name": name, "labels": {"a": "b"}}} for name in names]
    metadata = {"resourceVersion": version, "continue": following}
    return 200, json.dumps({"metadata": metadata, "items": items}).encode()


def event(kind: str, name: str, version: str, **fields: Any) -> bytes:
    """One line of a watch."""
    metadata = {"name": name, "resourceVersion": version}
    return json.dumps({"type": kind, "object": {"metadata": metadata, **fields}}).encode() + b"\n"


def failed(code: int) -> bytes:
    """An error in a watch."""
    status = {"kind": "Status", "code": code, "message": "too old"}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


@contextmanager
def misbehaving(handle: Handle) -> Iterator[KubeClient]:
    """Serve what `handle` returns for a path and its query; gives a client."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            answer = handle(parts.path, query)
            self.send_response(answer[0] if isinstance(answer, tuple) else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")
            self.end_headers()
            for part in [answer[1]] if isinstance(answer, tuple) else answer:
                self.wfile.write(part)
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the client closed the connection
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield KubeClient(Configuration(host=f"http://127.0.0.1:{server.server_address[1]}"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

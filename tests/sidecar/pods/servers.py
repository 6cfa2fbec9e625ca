"""A scripted API server on loopback; `tests/cluster` uses a real one."""

import json
from typing import Any

from sidecar.pods.access import ApiAccess, Credentials
from sidecar.pods.api import ApiClient
from tests.sidecar.apps import App, http


def client_of(app: App, token: str = "secret") -> ApiClient:
    access = ApiAccess("127.0.0.1", app.port, is_secure=False)
    return ApiClient(access._replace(credentials=Credentials(token=token)))


def listed(*objects: dict[str, Any], version: str = "1", following: str = "") -> bytes:
    """Return a response with a list."""
    metadata = {"resourceVersion": version, "continue": following}
    body = json.dumps({"kind": "PodList", "metadata": metadata, "items": objects}).encode()
    return http(body, "application/json")


def refused(status: str, message: str) -> bytes:
    """Return an error response with a Status object."""
    body = json.dumps({"kind": "Status", "message": message}).encode()
    return http(body, "application/json", status)


def event(kind: str, obj: dict[str, Any]) -> bytes:
    """Return one line of a watch."""
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


WATCH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

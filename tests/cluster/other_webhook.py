"""Another vendor's webhook, which changes pods before or after ours."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from webhook_certs.authority import create_authority, issue_leaf
from webhook_certs.tls import create_server_context

from injector.kube.api.client import KubeClient

_PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@contextmanager
def other_webhook(
    client: KubeClient, name: str, namespace: str, patch: list[dict[str, Any]]
) -> Iterator[list[str]]:
    """Register a webhook for the pods of a namespace; gives the names of those that it changed.

    Args:
        client: the administrator's client.
        name: the configuration's name; the API server calls configurations in order of name.
        namespace: the pods' namespace.
        patch: its patch for a pod that it has not marked yet.
    """
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body)["request"]
            response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
            labels = request["object"]["metadata"].get("labels") or {}
            if "other" not in labels:
                seen.append(request["object"]["metadata"].get("name", ""))
                mark = {"op": "add", "path": "/metadata/labels", "value": {**labels, "other": "1"}}
                text = json.dumps([mark, *patch]).encode()
                response |= {"patchType": "JSONPatch", "patch": base64.b64encode(text).decode()}
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
            answer = json.dumps({**review, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    now = datetime.now(UTC)
    authority = create_authority("other", now)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context: ssl.SSLContext = create_server_context(issue_leaf(authority, ["127.0.0.1"], now))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _register(client, name, namespace, server.server_address[1], authority.certificate_pem)
        yield seen
    finally:
        client.request("DELETE", f"{_PATH}/{name}")
        server.shutdown()
        server.server_close()


def _register(client: KubeClient, name: str, namespace: str, port: int, bundle: str) -> None:
    webhook = {
        "name": f"{name}.other.example",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "reinvocationPolicy": "IfNeeded",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/",
            "caBundle": base64.b64encode(bundle.encode()).decode(),
        },
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
             "resources": ["pods"]}
        ],
    }  # fmt: skip
    client.request("POST", _PATH, body={"metadata": {"name": name}, "webhooks": [webhook]})

"""The tests' own kubelets over real TLS, and the node proxy in front of one."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from webhook_certs.authority import create_authority, issue_leaf
from webhook_certs.tls import create_server_context

from sidecar.model.policy.node import NodeChange, parse_node_policy
from sidecar.roles.node.role import NodeRole
from sidecar.roles.node.settings import parse_node_settings
from tests.sidecar.apps import Answer, App, get, http, until

POLICY = {"namespaces": {"shop": {"team": "frontend"}, "bank": {"team": "payments"}}}
AUTHORITY = create_authority("kubelet", datetime.now(UTC) - timedelta(days=1))


def kubelet_tls(
    *names: str, lasts: timedelta = timedelta(hours=1), **changes: Any
) -> ssl.SSLContext:
    at = changes.get("at") or datetime.now(UTC)
    authority = changes.get("authority") or AUTHORITY
    return create_server_context(issue_leaf(authority, names or ["127.0.0.1"], at, lifetime=lasts))


class Kubelet(NamedTuple):
    """A kubelet and the proxy in front of it."""

    app: App
    role: NodeRole
    policy: Path

    async def get(self, path: str = "/metrics/cadvisor", **headers: str) -> httpx.Response:
        given = {"Accept-Encoding": "identity", **headers}
        async with httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{self.role.ports.bound['metrics']}{path}"
            return await client.get(url, headers=given, timeout=20)

    def tell(self, policy: Mapping[str, Any]) -> None:
        """Apply a policy."""
        self.role.source.take(NodeChange(parse_node_policy(policy), None))

    async def admin(self, path: str = "/metrics") -> str:
        return (await get(self.role.ports.bound["admin"], path)).text


@contextlib.asynccontextmanager
async def node_proxy(
    folder: Path, answer: Answer, *arguments: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Kubelet]:
    (folder / "token").write_text("secret-token")
    (folder / "ca.crt").write_text(AUTHORITY.certificate_pem)
    policy = folder / "policy.yaml"
    policy.write_text(json.dumps(POLICY))
    async with App(answer, tls=tls or kubelet_tls()) as app:
        given = {
            "--kubelet-token-file": str(folder / "token"),
            "--kubelet-ca-file": str(folder / "ca.crt"),
            "--policy": str(policy), "--port": "0", "--admin-port": "0",
        }  # fmt: skip
        if "--all-nodes" not in arguments:
            given["--kubelet-url"] = f"https://127.0.0.1:{app.port}"
        flat = [part for pair in given.items() for part in pair]
        settings = parse_node_settings(["--role", "node", "--auth=none", *flat, *arguments], {})
        role = NodeRole(settings)
        stop = asyncio.Event()
        task = asyncio.create_task(role.run(stop))
        try:
            await until(lambda: task.done() or len(role.ports.bound) >= 2)
            yield Kubelet(app, role, policy)
        finally:
            stop.set()
            async with asyncio.timeout(20):
                await task


def pod(namespace: str, name: str, **changes: Any) -> dict[str, Any]:
    """Return a pod as the kubelet lists it: one container with one port.

    Args:
        namespace: its namespace.
        name: its name.
        changes: `labels`, `annotations`, `uid`, `ip`, `ports`, `id` of its container; others
            replace fields of its status.
    """
    given = {"labels": {}, "annotations": {}, "ports": [{"containerPort": 80}], "id": "", **changes}
    ip = given.pop("ip", "10.0.0.1")
    metadata = {"namespace": namespace, "name": name, "uid": given.pop("uid", f"uid-{name}")}
    metadata |= {key: given.pop(key) for key in ("labels", "annotations")}
    container = {"name": "web", "image": "web:1", "ports": given.pop("ports")}
    said = {"name": "web", "containerID": given.pop("id")}
    status = {"podIP": ip, "phase": "Running", "containerStatuses": [said], **given}
    spec = {"nodeName": "worker-1", "containers": [container]}
    return {"metadata": metadata, "spec": spec, "status": status}


def pod_list(*pods: Mapping[str, Any]) -> bytes:
    """Return a PodList as the kubelet writes it."""
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}
    return json.dumps(document).encode()


def tell_pods(*pods: Mapping[str, Any]) -> bytes:
    """Return a response with a pod list."""
    return http(pod_list(*pods), kind="application/json")

"""The demo's gateway, if Prometheus runs: two tenants send it the same query."""

import asyncio
import base64
import json
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from injector.commands.demo.stage import (
    GATEWAY_ACCOUNT,
    START_SECONDS,
    Stage,
    end_process,
    free_port,
)
from sidecar.auth.users import hash_password
from sidecar.errors import LiveryError
from sidecar.http.connection import Connection, render_request

QUERY = "sum by (namespace, team) (http_requests_total)"


class Gateway(NamedTuple):
    """A running gateway; each tenant's password is its name."""

    port: int

    def by_hand(self, tenant: str) -> str:
        """Return the command that queries it as a tenant."""
        url = f"localhost:{self.port}/api/v1/query?{urlencode({'query': QUERY})}"
        return f"curl -s -u {tenant}:{tenant} '{url}'"


async def start_gateway(
    stage: Stage, prometheus: str, tenants: Sequence[str], stack: AsyncExitStack
) -> Gateway:
    """Start a gateway in front of Prometheus; its rules come from the demo's injector.

    Args:
        stage: runs the injector.
        prometheus: its URL.
        tenants: the gateway's users, each for its own namespace.
        stack: stops it on exit.
    """
    users, token = _write_files(stage.folder, tenants)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", "--role", "gateway", "--backend", prometheus),
        *("--users", str(users), "--log-level", "error"),
        *("--port", str(port), "--admin-port", str(free_port())),
        env=stage.control_environment(token),
        start_new_session=True,
    )
    stack.push_async_callback(end_process, process)
    return Gateway(port)


def _write_files(folder: Path, tenants: Sequence[str]) -> tuple[Path, Path]:
    """Write the gateway's users and its token; return both paths."""
    users = folder / "users.json"
    known = [
        {"name": name, "passwordHash": hash_password(name), "tenants": [name]} for name in tenants
    ]
    users.write_text(json.dumps({"users": known}))
    token = folder / "tokens" / GATEWAY_ACCOUNT.partition("/")[0] / "gateway"
    token.parent.mkdir(mode=0o700, exist_ok=True)
    token.write_text(secrets.token_urlsafe(32))
    return users, token


async def ask(gateway: Gateway, tenant: str) -> list[str]:
    """Query as a tenant; return a line per series, none if the query is not answered yet."""
    login = base64.b64encode(f"{tenant}:{tenant}".encode()).decode()
    headers = {"Host": "localhost", "Authorization": f"Basic {login}", "Connection": "close"}
    target = f"/api/v1/query?{urlencode({'query': QUERY})}"
    connection = await Connection.open("127.0.0.1", gateway.port)
    try:
        status = await connection.send(render_request("GET", target, headers))
        body = bytearray()
        while part := await connection.read():
            body += part
    finally:
        connection.close()
    if status != 200:
        return []
    found = []
    for item in json.loads(body)["data"]["result"]:
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(item["metric"].items()))
        found.append(f"{{{labels}}} {item['value'][1]}")
    return found


async def ask_until_answered(gateway: Gateway, tenants: Sequence[str]) -> dict[str, list[str]]:
    """Query as each tenant until Prometheus has series of each; return their lines."""
    deadline = time.monotonic() + START_SECONDS
    found: dict[str, list[str]] = {}
    while time.monotonic() < deadline:
        for tenant in tenants:
            try:
                found[tenant] = await ask(gateway, tenant)
            except (LiveryError, OSError):
                found[tenant] = []
        if all(found.values()):
            break
        await asyncio.sleep(0.2)
    return found

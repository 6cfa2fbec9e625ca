"""The demo's forwarding, if Prometheus is installed: one team's series go to its own server."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from injector.commands.demo.prometheus import start_receiver
from injector.commands.demo.stage import START_SECONDS, Stage
from sidecar.errors import LiveryError
from sidecar.http.connection import Connection, render_request

TENANT = "bank"
QUERY = "count by (namespace, team, tenant) ({__name__=~'http_.*|up'})"
_OBJECT = """\
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {{name: to-own-prometheus, namespace: {tenant}}}
spec:
  metricIsolation: true
  metrics: ["http_.*", up]
  remoteWrite:
    enabled: true
    interval: 5s
    target:
      type: remote_write
      remoteWrite: {{url: "{url}/api/v1/write"}}
"""


async def start_forwarding(stage: Stage, folder: Path, stack: AsyncExitStack) -> str:
    """Start a tenant's own Prometheus and write the object that sends its series there.

    Args:
        stage: runs the injector and the tenant's proxy.
        folder: data folder of the tenant's Prometheus.
        stack: stops it on exit.

    Returns:
        Its URL.
    """
    address = await start_receiver(folder, stack)
    stack.push_async_callback(stage.end_proxies)
    (stage.manifests / "forwarding.yaml").write_text(_OBJECT.format(tenant=TENANT, url=address))
    return address


async def look_until_there(address: str) -> list[str]:
    """Query the tenant's Prometheus until it has series; return one line per result."""
    deadline = time.monotonic() + START_SECONDS
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        try:
            found = await _look(address)
        except (LiveryError, OSError, ValueError):
            found = []
        await asyncio.sleep(0.2)
    return found


async def _look(address: str) -> list[str]:
    connection = await Connection.open("127.0.0.1", urlsplit(address).port or 0)
    target = f"/api/v1/query?{urlencode({'query': QUERY})}"
    try:
        await connection.send(render_request("GET", target, {"Host": "localhost"}))
        body = bytearray()
        while part := await connection.read():
            body += part
    finally:
        connection.close()
    lines = []
    for item in json.loads(body)["data"]["result"]:
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(item["metric"].items()))
        lines.append(f"{{{labels}}} {item['value'][1]} series")
    return lines


def by_hand(address: str) -> str:
    """Return the command that lists the namespaces whose series it has."""
    return f"curl -s '{address}/api/v1/query?{urlencode({'query': 'count by (namespace) (up)'})}'"

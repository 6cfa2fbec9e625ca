"""Admission over HTTPS at 200 reviews per second, as from an API server during a busy rollout."""

import asyncio
import ssl
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from webhook_certs.authority import create_authority, issue_leaf

from bench.reviews import pod_review
from bench.rig import NAME, process, wait_until
from bench.served import client_tls, prepare, served
from bench.table import Row, percentile
from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection, render_request
from tests.real_parts.ports import free_port

RATE = 200
SECONDS = 15
WARM_UP = 200
CONNECTIONS = 8
_WORLD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: frontend}}\n"


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        prepare(folder, _WORLD, tokens=0)
        with served(folder) as injector:
            ours = _delays(injector.admission_port, client_tls(folder))
        plain = _plain(folder)
    compared = (
        f"starlette on uvicorn that only parses and admits: p50 {_ms(plain, 0.5):.2f} ms, "
        f"p99 {_ms(plain, 0.99):.2f} ms"
    )
    claim = f"admission over HTTPS at {RATE}/s"
    return [
        Row(f"{claim}, p50", _ms(ours, 0.5), "ms", 2, compared),
        Row(f"{claim}, p99", _ms(ours, 0.99), "ms", 10, f"{len(ours)} reviews, none refused"),
    ]


def _ms(delays: list[float], share: float) -> float:
    return percentile(delays, share) * 1000


def _plain(folder: Path) -> list[float]:
    now = datetime.now(UTC)
    authority = create_authority("bench", now)
    leaf = issue_leaf(authority, [NAME], now)
    pair = folder / "plain.pem"
    pair.write_text(leaf.chain_pem + leaf.key_pem)
    tls = ssl.create_default_context(cadata=authority.certificate_pem)
    port = free_port()
    with process("-m", "bench.plain_webhook", str(port), str(pair)):
        wait_until(lambda: asyncio.run(_listens(port, tls)))
        return _delays(port, tls)


async def _listens(port: int, tls: ssl.SSLContext) -> bool:
    try:
        (await Connection.open("127.0.0.1", port, tls=tls, server_name=NAME)).close()
    except UpstreamError:
        return False
    return True


def _delays(port: int, tls: ssl.SSLContext) -> list[float]:
    return asyncio.run(_ask(port, tls))


async def _ask(port: int, tls: ssl.SSLContext) -> list[float]:
    """Send reviews at a fixed rate; a delay runs from the time a review was due to be sent."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await Connection.open("127.0.0.1", port, tls=tls, server_name=NAME))
    body = pod_review(20)
    headers = {"Host": NAME, "Content-Type": "application/json"}
    request = render_request("POST", "/mutate?timeout=5s", headers, body)

    async def review(due: float) -> float:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        connection = await free.get()
        if await connection.send(request) != 200:
            raise RuntimeError(f"answered {connection.status}")
        while await connection.read():
            pass
        free.put_nowait(connection)
        return time.perf_counter() - due

    start = time.perf_counter() + 0.1
    count = WARM_UP + RATE * SECONDS
    delays = await asyncio.gather(*(review(start + number / RATE) for number in range(count)))
    return delays[WARM_UP:]

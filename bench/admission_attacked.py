"""Admission and policy streams while clients try to starve both in several ways at once."""

import asyncio
import ssl
import tempfile
import time
from pathlib import Path

from bench.reviews import pod_review
from bench.rig import NAME, process, wait_until
from bench.served import Injector, ca_bundle, client_tls, held_streams, prepare, say, served
from bench.table import Row, percentile
from sidecar.errors import UpstreamError
from sidecar.http.connection import Connection, render_request

SECONDS = 30
INTERVAL_SECONDS = 0.1
STREAMS = 200
_PATTERN = "x" * 1_000
_RULES = """---
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {name: rules, namespace: shop}
spec:
  metrics:
%s
"""
_WORLD = (
    "apiVersion: v1\nkind: Namespace\n"
    "metadata: {name: shop, labels: {team: a, livery.dev/inject: enabled}}\n"
    + _RULES
    % "\n".join(f"  - a{number}_{_PATTERN}" for number in range(1_000))
)


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        prepare(folder, _WORLD, tokens=STREAMS + 1)
        with (
            served(folder) as injector,
            held_streams(folder, injector.control_port, STREAMS, 1) as clients,
        ):
            say(clients[0], "go")
            wait_until(lambda: injector.streams() == STREAMS, 60)
            calm = injector.usage().resident_bytes
            ports = (str(injector.admission_port), str(injector.control_port))
            bundle = str(ca_bundle(folder))
            with process("-m", "bench.attackers", *ports, bundle, str(SECONDS)):
                delays, peak = asyncio.run(_ask(injector, client_tls(folder)))
            lost = max(0, STREAMS - injector.streams())
    answered = [delay for delay in delays if delay is not None]
    claim = "admission under attack (bodies, silent connections, junk tokens, unread streams)"
    return [
        Row(f"{claim}: RSS", peak / 1e6, "MB", 300, f"{calm / 1e6:.0f} MB before"),
        Row(
            "the same: p99 of a review every 100 ms", percentile(answered, 0.99), "s", 1.0,
            f"{len(answered)} answered, median {percentile(answered, 0.5):.3f} s, "
            f"worst {max(answered):.2f} s",
        ),
        Row("the same: reviews lost", len(delays) - len(answered), "", 0, "none allowed"),
        Row("the same: policy streams lost", lost, "", 0, f"of {STREAMS} of other pods"),
    ]  # fmt: skip


async def _ask(injector: Injector, tls: ssl.SSLContext) -> tuple[list[float | None], int]:
    headers = {"Host": NAME, "Content-Type": "application/json"}
    request = render_request("POST", "/mutate?timeout=5s", headers, pod_review(20))
    peak = 0
    delays: list[float | None] = []
    start = time.monotonic()
    while time.monotonic() - start < SECONDS - 2:
        began = time.monotonic()
        delays.append(await _review(injector.admission_port, tls, request))
        peak = max(peak, injector.usage().resident_bytes)
        await asyncio.sleep(max(0.0, INTERVAL_SECONDS - (time.monotonic() - began)))
    return delays, peak


async def _review(port: int, tls: ssl.SSLContext, request: bytes) -> float | None:
    """Send a review over a new connection, as after a restart; None if it is not answered."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(10):
            connection = await Connection.open("127.0.0.1", port, tls=tls, server_name=NAME)
            status = await connection.send(request)
            while await connection.read():
                pass
            connection.close()
    except (UpstreamError, TimeoutError):
        return None
    return time.monotonic() - began if status == 200 else None

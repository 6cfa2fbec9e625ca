"""A gateway compared with prom-label-proxy and with Prometheus itself, and its memory use."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.rig import Pod, process, usage, wait_until
from bench.table import Row
from sidecar.auth.users import hash_password
from sidecar.http.connection import Connection, render_request
from sidecar.model.access.rules import parse_access_rules
from sidecar.model.access.views import view_of
from sidecar.model.promql.enforcement import enforce_query
from tests.real_parts.go import build
from tests.real_parts.ports import free_port
from tests.real_parts.prometheus import Prometheus, running_prometheus

_ROUNDS = 4
_SECONDS = 3.0
_CONNECTIONS = 8
_LARGE_BYTES = 20_000_000
_LOGIN = {"Authorization": "Basic " + base64.b64encode(b"grafana:pw").decode()}
_CONFIG = """
scrape_configs:
- job_name: app
  scrape_interval: 1s
  static_configs: [{targets: ["127.0.0.1:1"], labels: {namespace: shop}}]
"""
_RULES = [
    {"name": "web", "patterns": ["up", "http_.*"], "namespaces": ["shop"]},
    {"name": "db", "patterns": ['{job="db"}'], "labelSelectors": {"tier": "one"},
     "namespaces": ["shop"]},
    {"name": "queue", "patterns": ["queue_.*"], "namespaces": ["shop", "bank"]},
]  # fmt: skip
_QUERY = (
    'sum by (job, code) (rate(http_requests_total{job="web", code=~"5.."}[5m])) / ignoring (code) '
    'group_left sum by (job) (rate(http_requests_total{job="web"}[5m])) > 0.05 and on (job) '
    '(max_over_time(http_errors{job="web", tier!="test"}[1h]) > 10)'
)
"""About 250 bytes long, as a typical alert or panel."""


def measure() -> list[Row]:
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as text,
        running_prometheus(_CONFIG, Path(text) / "prometheus") as prometheus,
    ):
        folder = Path(text)
        rows += _race(folder, prometheus)
        rows.append(_measure_stream(folder))
        rows.append(_measure_rewriting())
        rows.append(_measure_many_tenants(folder, prometheus))
    return rows


def _race(folder: Path, prometheus: Prometheus) -> list[Row]:
    direct = int(prometheus.url.rpartition(":")[2])
    with (
        _gateway(folder, {"shop": _RULES}, prometheus.url) as gateway,
        _label_proxy(prometheus.url) as other,
        _on_cores({gateway.pid: 1, other.pid: 1, prometheus.pid: 0}),
    ):
        idle = usage(gateway.pid).resident_bytes / 1e6
        ours, theirs, added, addition = [], [], [], []
        for _ in range(_ROUNDS):
            ours.append(asyncio.run(_load(gateway.port, _LOGIN, _CONNECTIONS))[0])
            theirs.append(asyncio.run(_load(other.port, {"X-Tenant": "shop"}, _CONNECTIONS))[0])
            through = asyncio.run(_load(gateway.port, _LOGIN, 1))[1]
            other_through = asyncio.run(_load(other.port, {"X-Tenant": "shop"}, 1))[1]
            alone = asyncio.run(_load(direct, {}, 1))[1]
            added.append((through - alone) * 1e3)
            addition.append((other_through - alone) * 1e3)
        busy = usage(gateway.pid).resident_bytes / 1e6
    rate, other_rate = statistics.median(ours), statistics.median(theirs)
    what = f"{rate:,.0f} requests per second; prom-label-proxy {other_rate:,.0f}"
    median = statistics.median(added)
    return [
        Row("gateway, small query, 8 connections, one core", other_rate / rate,
            "of prom-label-proxy's time", 0.5, what),
        Row("gateway, time added to a small query, one connection", median, "ms", 1.0,
            f"prom-label-proxy adds {statistics.median(addition):.2f} ms"),
        Row("gateway, idle", idle, "MB", 48, f"after the run {busy:.0f} MB"),
    ]  # fmt: skip


def _measure_stream(folder: Path) -> Row:
    with (
        process("-m", "bench.large_answer", str(_LARGE_BYTES)) as backend,
        _gateway(folder, {"shop": _RULES}, f"http://127.0.0.1:{_port_of(backend)}") as gateway,
    ):
        asyncio.run(_take(gateway.port, "/api/v1/labels"))
        before = usage(gateway.pid).resident_bytes
        path = "/api/v1/query_range?query=up&start=0&end=9&step=1"
        size = asyncio.run(_take(gateway.port, path))
        more = (_peak_bytes(gateway.pid) - before) / 1e6
    return Row(
        "gateway, a 20 MB response: added memory", more, "MB", 20, f"{size / 1e6:.0f} MB received"
    )


def _measure_rewriting() -> Row:
    view = view_of(parse_access_rules(_RULES, "rules"))
    times = []
    for _ in range(300):
        started = time.perf_counter()
        enforced = enforce_query(_QUERY, view)
        times.append(time.perf_counter() - started)
    compared = f"{len(enforced.text)} bytes after; a repeated query costs 1 µs"
    claim = f"gateway, rewriting a new query of {len(_QUERY)} bytes with 3 rules"
    return Row(claim, statistics.median(times) * 1e6, "µs", 100, compared)


def _measure_many_tenants(folder: Path, prometheus: Prometheus) -> Row:
    tenants = {
        f"team-{number}": [
            {"name": f"rule-{rule}", "patterns": [f"metric_{number}_{rule}", f"app_{rule}_.*"],
             "labelSelectors": {"team": f"team-{number}"}, "namespaces": [f"team-{number}"]}
            for rule in range(20)
        ]
        for number in range(500)
    }  # fmt: skip
    with _gateway(folder, tenants, prometheus.url) as gateway:
        asyncio.run(_ask_as_each(gateway.port, list(tenants)))
        size = usage(gateway.pid).resident_bytes / 1e6
    return Row("gateway, 500 tenants of 20 rules", size, "MB", 100, "after one query of each")


@contextlib.contextmanager
def _gateway(folder: Path, tenants: Mapping[str, object], url: str) -> Iterator[Pod]:
    (folder / "tenants.json").write_text(json.dumps({"tenants": tenants}))
    user = {"name": "grafana", "passwordHash": hash_password("pw"), "tenants": list(tenants)}
    (folder / "users.json").write_text(json.dumps({"users": [user]}))
    port, admin = free_port(), free_port()
    arguments = [
        "-m", "sidecar", "--role", "gateway", "--backend", url, "--log-level", "error",
        "--policy", str(folder / "tenants.json"), "--users", str(folder / "users.json"),
        "--port", str(port), "--admin-port", str(admin),
        "--requests-per-second", "1000000", "--burst", "1000000",
    ]  # fmt: skip
    with process(*arguments) as started:
        pod = Pod(port, admin, started.pid)
        wait_until(lambda: _answers(admin), 60)
        yield pod


@contextlib.contextmanager
def _label_proxy(url: str) -> Iterator[Pod]:
    """Run prom-label-proxy, built from its module."""
    package = "github.com/prometheus-community/prom-label-proxy"
    program = build(Path(__file__).parent / "label_proxy_module", package, "prom-label-proxy")
    port = free_port()
    arguments = [
        str(program), "-header-name", "X-Tenant", "-label", "namespace", "-upstream", url,
        "-insecure-listen-address", f"127.0.0.1:{port}",
    ]  # fmt: skip
    code = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    with process("-c", code, *arguments) as started:
        wait_until(lambda: _answers(port), 20)
        yield Pod(port, port, started.pid)


@contextlib.contextmanager
def _on_cores(cores: Mapping[int, int]) -> Iterator[None]:
    """Pin each process to its core, and this one to the first; both proxies have the second."""
    if len(os.sched_getaffinity(0)) < 2:
        print("only one core: the proxies share it with all other processes", file=sys.stderr)
        yield
        return
    own = os.sched_getaffinity(0)
    first, second = sorted(own)[:2]
    for pid, core in cores.items():
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {second if core else first})
    os.sched_setaffinity(0, {first})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


async def _load(port: int, headers: Mapping[str, str], connections: int) -> tuple[float, float]:
    """Send queries for a while; return the requests per second and their median seconds."""
    moments = itertools.count(time.time())  # so that no two queries are equal
    ends = time.perf_counter() + _SECONDS
    times: list[float] = []

    async def ask() -> None:
        connection = await Connection.open("127.0.0.1", port)
        while time.perf_counter() < ends:
            target = f"/api/v1/query?query=up&time={next(moments):.0f}"
            request = render_request("GET", target, {"Host": "x", **headers})
            started = time.perf_counter()
            status = await connection.send(request)
            while await connection.read():
                pass
            if status != 200:
                raise RuntimeError(f"answered {status}")
            times.append(time.perf_counter() - started)
        connection.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return len(times) / _SECONDS, statistics.median(times)


async def _take(port: int, path: str) -> int:
    """Send one request; return the size of the response."""
    connection = await Connection.open("127.0.0.1", port)
    await connection.send(render_request("GET", path, {"Host": "x", **_LOGIN}))
    size = 0
    while part := await connection.read():
        size += len(part)
    connection.close()
    return size


async def _ask_as_each(port: int, tenants: list[str]) -> None:
    connection = await Connection.open("127.0.0.1", port)
    for tenant in tenants:
        headers = {"Host": "x", **_LOGIN, "X-Tenant-Namespace": tenant}
        status = await connection.send(
            render_request("GET", "/api/v1/query?query=metric_1", headers)
        )
        while await connection.read():
            pass
        if status != 200:
            raise RuntimeError(f"answered {status}")
    connection.close()


def _answers(port: int) -> bool:
    async def connect() -> None:
        (await Connection.open("127.0.0.1", port)).close()

    try:
        asyncio.run(connect())
    except Exception:
        return False
    return True


def _port_of(started: "object") -> int:
    stdout = getattr(started, "stdout", None)
    if stdout is None:
        raise RuntimeError("no output")
    return int(stdout.readline())


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

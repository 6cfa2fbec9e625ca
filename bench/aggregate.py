"""An aggregate of many pods, compared with only fetching and joining the same bodies."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from bench.rig import NAME, Pod, fetch, injector, process, usage, wait_until
from bench.table import Row
from injector.app.service import Service
from sidecar.http.connection import Connection, render_request
from sidecar.model.targets import Target
from sidecar.scrape.fetch import Budget, Question, TargetClient
from tests.real_parts.ports import free_port

_ROUNDS = 12
_HEADERS = {
    "Host": "localhost",
    "Accept": "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}


def measure() -> list[Row]:
    return [
        *_measure(100, 1000, with_memory=True),
        *_measure(1000, 100, with_memory=False),
        _measure_hanging(),
    ]


def _measure(pods: int, series: int, *, with_memory: bool) -> list[Row]:
    rows: list[Row] = []
    with injector() as (service, folder), _pods(pods, series) as ports:
        with _aggregate(service, folder, ports[:1]) as one:
            idle = usage(one.pid).resident_bytes / 1e6
            asyncio.run(_scrape(one.port, 3))
            alone = usage(one.pid).resident_bytes / 1e6
        with _aggregate(service, folder, ports) as all_of_them:
            ours, plain, size = asyncio.run(_race(all_of_them.port, ports))
            peak = _peak_bytes(all_of_them.pid) / 1e6
    what = f"aggregate, {pods:,} pods of {series:,} series"
    compared = f"{ours:.0f} ms, {size / 1e6:.0f} MB; only fetched and joined: {plain:.0f} ms"
    rows.append(Row(what, ours / plain, "times", 1.5, compared))
    if with_memory:
        rows += [
            Row(f"{what}: time", ours, "ms", 60, "not compressed, over loopback"),
            Row(f"{what}: peak memory", peak, "MB", 120, f"{alone:.0f} MB for one such pod"),
            Row("aggregate, idle", idle, "MB", 36, "with one pod, before its first scrape"),
        ]
    return rows


def _measure_hanging() -> Row:
    with (
        injector() as (service, folder),
        _pods(99, 100) as ports,
        _silent_port() as silent,
        _aggregate(service, folder, [*ports, silent]) as pod,
    ):
        seconds = asyncio.run(_scrape(pod.port, 1, timeout_seconds=2))
    return Row("aggregate, one of 100 pods hangs", seconds, "s", 2.0, "scrape timeout of 2 s")


@contextlib.contextmanager
def _pods(pods: int, series: int) -> Iterator[list[int]]:
    with process("-m", "bench.pods", str(pods), str(series)) as started:
        if started.stdout is None:
            raise RuntimeError("no output")
        yield [int(port) for port in started.stdout.readline().split()]


@contextlib.contextmanager
def _silent_port() -> Iterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextlib.contextmanager
def _aggregate(service: Service, folder: Path, ports: Sequence[int]) -> Iterator[Pod]:
    """Run an aggregate that receives its pods from the injector."""
    manifests = folder / "world" / "pods.yaml"
    manifests.write_text(yaml.safe_dump_all(map(_manifest, ports)))
    port, admin = free_port(), free_port()
    env = {
        "LIVERY_CONTROL_URL": f"https://{NAME}:{service.ports[1]}",
        "LIVERY_CONTROL_ADDRESS": "127.0.0.1",
        "LIVERY_CONTROL_CA": service.admission.ca_bundle,
        "LIVERY_TOKEN_FILE": str(folder / "tokens" / "shop" / "web-0"),
    }
    arguments = ["-m", "sidecar", "--role", "aggregate", "--pod-label-selector", "app=web"]
    arguments += ["--allow-local-addresses", "--log-level", "error"]
    arguments += ["--port", str(port), "--admin-port", str(admin)]
    with process(*arguments, env=env) as started:
        pod = Pod(port, admin, started.pid)
        wait_until(lambda: _knows(pod, len(ports)), 60)
        yield pod


def _knows(pod: Pod, pods: int) -> bool:
    try:
        return f"livery_aggregate_pods {pods}\n" in fetch(
            f"http://127.0.0.1:{pod.admin_port}/metrics"
        )
    except OSError:
        return False


def _manifest(port: int) -> dict[str, object]:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-{port}",
            "namespace": "shop",
            "uid": f"uid-{port}",
            "labels": {"app": "web"},
            "annotations": annotations,
        },
        "spec": {"containers": [{"name": "web", "image": "web"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}]},
    }


async def _race(port: int, ports: Sequence[int]) -> tuple[float, float, int]:
    """Measure both alternately; return the median milliseconds of each and the response size."""
    clients = [
        TargetClient(Target("", "http", "127.0.0.1", one, "/metrics"), "", 10 << 20)
        for one in ports
    ]
    connection = await Connection.open("127.0.0.1", port)
    ours, plain, size = [], [], 0
    for number in range(_ROUNDS + 2):
        started = time.perf_counter()
        size = await _take(connection, _HEADERS)
        taken = time.perf_counter() - started
        started = time.perf_counter()
        budget = Budget(1 << 30, "")
        question = Question("text/plain")
        answers = await asyncio.gather(*[one.fetch(question, 9, budget) for one in clients])
        b"".join([answer.body for answer in answers])
        if number >= 2:  # the first rounds connect, and read every series for the first time
            ours.append(taken * 1e3)
            plain.append((time.perf_counter() - started) * 1e3)
        del answers
    connection.close()
    for client in clients:
        client.close()
    return statistics.median(ours), statistics.median(plain), size


async def _scrape(port: int, times: int, timeout_seconds: float = 10) -> float:
    """Scrape several times; return the seconds that the last scrape took."""
    connection = await Connection.open("127.0.0.1", port)
    headers = {**_HEADERS, "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_seconds:g}"}
    for _ in range(times):
        started = time.perf_counter()
        await _take(connection, headers)
    connection.close()
    return time.perf_counter() - started


async def _take(connection: Connection, headers: dict[str, str]) -> int:
    if await connection.send(render_request("GET", "/metrics", headers)) != 200:
        raise RuntimeError(f"answered {connection.status}")
    size = 0
    while part := await connection.read():
        size += len(part)
    return size


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

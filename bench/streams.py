"""One control replica with 10,000 policy streams over TLS: its memory, and a change at all."""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from webhook_certs.stores import FolderStore

from bench.rig import NAME, Usage, fetch, free_port, process, usage, wait_until
from bench.table import Row, percentile

STREAMS = 10_000
CLIENTS = 4
"""Processes that hold the streams' other ends."""
CHANGES = 5
TOKENS = 100
OPEN_SECONDS = 300.0
_WORLD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: team-%d}}\n"


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        manifest = _prepare(folder)
        with _injector(folder) as injector, _clients(folder, injector.control_port) as clients:
            empty = injector.usage()
            for client in clients:
                _say(client, "go")
            wait_until(lambda: injector.streams() == STREAMS, OPEN_SECONDS)
            full = injector.usage()
            delays = [_change(manifest, number, clients) for number in range(1, CHANGES + 1)]
            peak = max(full.resident_bytes, injector.usage().resident_bytes)
    worst = max(percentile(group, 0.99) for group in delays)
    cpu = (full.cpu_seconds - empty.cpu_seconds) / STREAMS * 1000
    held = f"{empty.resident_bytes / 1e6:.0f} MB without; {cpu:.1f} ms CPU to open one"
    middle = percentile([delay for group in delays for delay in group], 0.5)
    spread = f"median {middle:.2f} s; the worst of {CHANGES} edits counts"
    return [
        Row("one control replica, 10,000 streams over TLS", peak / 1e6, "MB RSS", 750, held),
        Row("a label edit at all 10,000, p99", worst, "s", 1.0, spread),
    ]


class _Injector(NamedTuple):
    pid: int
    control_port: int
    metrics_port: int

    def usage(self) -> Usage:
        return usage(self.pid)

    def streams(self) -> int:
        text = fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")
        line = next(item for item in text.splitlines() if item.startswith("livery_policy_streams "))
        return int(float(line.split()[1]))


def _prepare(folder: Path) -> Path:
    (folder / "tokens" / "shop").mkdir(parents=True)
    for number in range(TOKENS):
        (folder / "tokens" / "shop" / f"web-{number}").write_text(f"token-{number}")
    (folder / "world").mkdir()
    manifest = folder / "world" / "namespace.yaml"
    manifest.write_text(_WORLD % 0)
    return manifest


@contextlib.contextmanager
def _injector(folder: Path) -> Iterator[_Injector]:
    admission, control, metrics, status = (free_port() for _ in range(4))
    arguments = {
        "manifests": folder / "world",
        "tokens": folder / "tokens",
        "certs": folder / "certs",
        "host": "127.0.0.1",
        "name": NAME,
        "admission-port": admission,
        "control-port": control,
        "metrics-port": metrics,
        "status-port": status,
        "log-level": "error",
    }
    given = [str(part) for name, value in arguments.items() for part in (f"--{name}", value)]
    with process("-m", "injector", "serve", *given) as started:
        injector = _Injector(started.pid, control, metrics)
        wait_until(lambda: _answers(metrics))
        yield injector


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(fetch(f"http://127.0.0.1:{port}/healthz"))
    return False


@contextlib.contextmanager
def _clients(folder: Path, port: int) -> Iterator[list[subprocess.Popen[str]]]:
    with contextlib.ExitStack() as stack:
        generations = FolderStore(folder / "certs").load().generations
        authorities = folder / "ca.pem"
        authorities.write_text("".join(item.authority.certificate_pem for item in generations))
        count = STREAMS // CLIENTS
        yield [
            stack.enter_context(
                process(
                    "-m",
                    "bench.stream_clients",
                    str(port),
                    str(authorities),
                    str(count),
                    stdin=True,
                )
            )
            for _ in range(CLIENTS)
        ]


def _say(client: subprocess.Popen[str], line: str) -> None:
    if client.stdin is None:
        raise RuntimeError("no input")
    client.stdin.write(line + "\n")
    client.stdin.flush()


def _hear(client: subprocess.Popen[str]) -> str:
    if client.stdout is None:
        raise RuntimeError("no output")
    return client.stdout.readline()


def _change(manifest: Path, number: int, clients: list[subprocess.Popen[str]]) -> list[float]:
    """Edit the label; returns the seconds until each stream brought it."""
    for client in clients:
        _say(client, f"team-{number}")
        _hear(client)
    changed = manifest.with_suffix(".new")
    changed.write_text(_WORLD % number)
    started = time.time()
    changed.replace(manifest)
    arrivals = [at for client in clients for at in json.loads(_hear(client))]
    return [at - started for at in arrivals]

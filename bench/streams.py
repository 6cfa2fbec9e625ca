"""One control replica with 10,000 policy streams over TLS: memory, and the delay of a change."""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from bench.rig import wait_until
from bench.served import hear, held_streams, prepare, say, served
from bench.table import Row, percentile

STREAMS = 10_000
CLIENTS = 4
"""Client processes that hold the streams."""
CHANGES = 5
TOKENS = STREAMS // 3 + 2
"""Each token file stands for a pod, which may have three streams."""
OPEN_SECONDS = 300.0
_WORLD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: team-%d}}\n"


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        manifest = prepare(folder, _WORLD % 0, tokens=TOKENS)
        with (
            served(folder) as injector,
            held_streams(folder, injector.control_port, STREAMS, CLIENTS) as clients,
        ):
            empty = injector.usage()
            for client in clients:
                say(client, "go")
            wait_until(lambda: injector.streams() == STREAMS, OPEN_SECONDS)
            full = injector.usage()
            delays = [_change(manifest, number, clients) for number in range(1, CHANGES + 1)]
            peak = max(full.resident_bytes, injector.usage().resident_bytes)
    worst = max(percentile(group, 0.99) for group in delays)
    cpu = (full.cpu_seconds - empty.cpu_seconds) / STREAMS * 1000
    held = f"{empty.resident_bytes / 1e6:.0f} MB without; {cpu:.1f} ms CPU to open one"
    middle = percentile([delay for group in delays for delay in group], 0.5)
    spread = f"median {middle:.2f} s; the worst of {CHANGES} edits"
    return [
        Row("one control replica, 10,000 streams over TLS", peak / 1e6, "MB RSS", 500, held),
        Row("a label edit until all 10,000 have it, p99", worst, "s", 0.7, spread),
    ]


def _change(manifest: Path, number: int, clients: list[subprocess.Popen[str]]) -> list[float]:
    """Edit the label; return the seconds until each stream received it."""
    for client in clients:
        say(client, f"team-{number}")
        hear(client)
    changed = manifest.with_suffix(".new")
    changed.write_text(_WORLD % number)
    started = time.time()
    changed.replace(manifest)
    arrivals = [at for client in clients for at in json.loads(hear(client))]
    return [at - started for at in arrivals]

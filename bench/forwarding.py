"""Cost of forwarding by a pod's proxy (also compared with vmagent) and by a collector."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.collector_run import INTERVAL_SECONDS, TENANTS
from bench.rig import Pod, application, fetch, process, scrape, usage, wait_until
from bench.table import Row
from tests.real_parts.ports import free_port
from tests.real_parts.victoria import victoria_program

_CYCLE_SECONDS = 5
_CYCLES = 8
_TARGETS, _SERIES = 5, 20_000
_DROP = {"regex": "never_.*", "action": "labeldrop"}
"""A rule that is applied to each series."""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        return [*_measure_pod(folder), _race(folder), _measure_collector()]


def _measure_pod(folder: Path) -> list[Row]:
    with application(1000) as url, _receiver() as receiver:
        with _proxy(folder / "plain", url, None) as plain:
            scrape(plain.port, 20, 0.1)
            before = plain.usage()
            _wait_cycles(_CYCLES)
            idle, quiet = plain.usage(), plain.usage().cpu_seconds - before.cpu_seconds
        with _proxy(folder / "sending", url, receiver) as sending:
            _wait_cycles(2)
            before = sending.usage()
            _wait_cycles(_CYCLES)
            after = sending.usage()
    more = (after.resident_bytes - idle.resident_bytes) / 1e6
    cycle = (after.cpu_seconds - before.cpu_seconds - quiet) / _CYCLES * 1000
    return [
        Row("pod proxy that forwards 1,000 series: added memory", more, "MB RSS", 6,
            f"scraped but not forwarding: {idle.resident_bytes / 1e6:.1f} MB"),
        Row("one forwarding cycle, its own scrape included", cycle, "ms CPU", 3, "–"),
    ]  # fmt: skip


def _race(folder: Path) -> Row:
    """Let the proxies, then vmagent, scrape, relabel and send the same series."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(application(_SERIES)) for _ in range(_TARGETS)]
        ours = _ours(folder, urls)
        theirs = _vmagent(folder, urls)
    compared = f"ours {ours:,.0f} samples per CPU second, vmagent {theirs:,.0f}"
    claim = f"forwarding {_TARGETS} × {_SERIES:,} series: CPU per sample"
    return Row(claim, theirs / ours, "of vmagent's", 0.5, compared)


def _ours(folder: Path, urls: list[str]) -> float:
    with _receiver() as receiver, contextlib.ExitStack() as stack:
        proxies = [
            stack.enter_context(_proxy(folder / f"race-{number}", url, receiver))
            for number, url in enumerate(urls)
        ]
        return _samples_a_cpu_second([pod.pid for pod in proxies], receiver)


def _vmagent(folder: Path, urls: list[str]) -> float:
    targets = [url.removeprefix("http://").removesuffix("/metrics") for url in urls]
    config = folder / "vmagent.json"
    config.write_text(
        json.dumps(
            {
                "global": {
                    "scrape_interval": f"{_CYCLE_SECONDS}s",
                    "external_labels": {"tenant": "shop", "managed_by": "livery"},
                },
                "scrape_configs": [
                    {
                        "job_name": "app",
                        "static_configs": [{"targets": targets, "labels": {"team": "frontend"}}],
                        "metric_relabel_configs": [_DROP],
                    }
                ],
            }
        )
    )
    port = free_port()
    with _receiver() as receiver:
        command = [
            str(victoria_program("vmagent")), f"-promscrape.config={config}",
            f"-httpListenAddr=127.0.0.1:{port}", f"-remoteWrite.tmpDataPath={folder / 'vm'}",
            f"-remoteWrite.url=http://127.0.0.1:{receiver}/write",
        ]  # fmt: skip
        log = subprocess.DEVNULL
        started = subprocess.Popen(command, env={"GOMAXPROCS": "1"}, stdout=log, stderr=log)
        try:
            return _samples_a_cpu_second([started.pid], receiver)
        finally:
            started.terminate()
            started.wait(20)


def _samples_a_cpu_second(pids: list[int], receiver: int) -> float:
    _wait_cycles(6)  # until the work done once per series is over
    before, seconds = _counted(receiver), sum(usage(pid).cpu_seconds for pid in pids)
    _wait_cycles(_CYCLES)
    taken = sum(usage(pid).cpu_seconds for pid in pids) - seconds
    return (_counted(receiver) - before) / max(0.01, taken)


def _measure_collector() -> Row:
    with process("-m", "bench.vector") as backend, _receiver() as receiver:
        url = f"http://127.0.0.1:{_port_of(backend)}"
        with process("-m", "bench.collector_run", url, str(receiver)) as collector:
            time.sleep(INTERVAL_SECONDS + 10)
            before, counted = usage(collector.pid), _counted(receiver)
            time.sleep(2 * INTERVAL_SECONDS)
            after = usage(collector.pid)
            taken = _counted(receiver) - counted
    share = (after.cpu_seconds - before.cpu_seconds) / (2 * INTERVAL_SECONDS) * 100
    compared = f"{taken:,} samples arrived, {after.resident_bytes / 1e6:.0f} MB"
    return Row(f"collector, {TENANTS} tenants × 1,000 series every {INTERVAL_SECONDS} s", share,
               "% of a core", 50, compared)  # fmt: skip


@contextlib.contextmanager
def _receiver() -> Iterator[int]:
    with process("-m", "bench.receiver") as started:
        yield _port_of(started)


@contextlib.contextmanager
def _proxy(folder: Path, url: str, receiver: int | None) -> Iterator[Pod]:
    folder.mkdir(exist_ok=True)
    policy: dict[str, object] = {"labels": {"team": "frontend"}}
    if receiver is not None:
        where = {"host": "127.0.0.1", "port": receiver, "path": "/write", "isService": True}
        access = {"name": "all", "patterns": ["{}"], "namespaces": ["shop"],
                  "metricRelabelings": [_DROP]}  # fmt: skip
        rule = {
            "access": access,
            "intervalSeconds": _CYCLE_SECONDS,
            "extraLabels": {"tenant": "shop", "managed_by": "livery"},
            "receivers": [where],
        }
        policy["forward"] = {"allowedRanges": ["127.0.0.0/8"], "rules": [rule]}
    (folder / "policy.json").write_text(json.dumps(policy))
    port, admin = free_port(), free_port()
    arguments = [
        "-m", "sidecar", "--role", "pod", "--target", url, "--policy", str(folder / "policy.json"),
        "--port", str(port), "--admin-port", str(admin), "--log-level", "error",
        # As annotated for a pod with 20,000 series: what is cached of them grows with this limit.
        "--bytes-limit", "30Mi",
    ]  # fmt: skip
    environ = {"LIVERY_POD_NAMESPACE": "shop", "LIVERY_POD_NAME": "web-0"}
    with process(*arguments, env=environ) as started:
        pod = Pod(port, admin, started.pid)
        wait_until(lambda: _answers(admin))
        yield pod


def _wait_cycles(count: int) -> None:
    time.sleep(count * _CYCLE_SECONDS)


def _counted(port: int) -> int:
    return int(fetch(f"http://127.0.0.1:{port}/"))


def _answers(port: int) -> bool:
    try:
        return bool(fetch(f"http://127.0.0.1:{port}/healthz"))
    except OSError:
        return False


def _port_of(started: "subprocess.Popen[str]") -> int:
    if started.stdout is None:
        sys.exit("no output")
    return int(started.stdout.readline())

"""CPU of one scrape of 1,000 series through the proxy, labels put on, answer compressed."""

from bench.pod_memory import _answers
from bench.rig import (
    application,
    free_port,
    injector,
    process,
    proxy,
    scrape,
    usage,
    wait_until,
)
from bench.table import Row

_SCRAPES = 500
_BATCHES = 5
"""The best batch counts: what disturbs a shared machine only ever adds."""


def measure() -> list[Row]:
    with application(1000) as url, injector() as (service, folder):
        with proxy(url, service, folder) as pod:
            ours = _best(pod.port, pod.pid)
        usual = _usual(url)
    compared = f"starlette + uvicorn + httpx, nothing put on, not compressed: {usual:.2f} ms"
    return [Row("one scrape of 1,000 series through the proxy", ours, "ms CPU", 0.7, compared)]


def _usual(url: str) -> float:
    port = free_port()
    with process("-m", "bench.plain_proxy", str(port), url) as started:
        wait_until(lambda: _answers(port))
        return _best(port, started.pid)


def _best(port: int, pid: int) -> float:
    """Milliseconds of CPU for one scrape."""
    scrape(port, 50)
    batches = []
    for _ in range(_BATCHES):
        before = usage(pid).cpu_seconds
        scrape(port, _SCRAPES)
        batches.append((usage(pid).cpu_seconds - before) / _SCRAPES * 1000)
    return min(batches)

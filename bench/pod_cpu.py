"""CPU time of one scrape of 1,000 series through the proxy, labelled and compressed."""

from bench.rig import application, injector, nginx_proxy, proxy, scrape, usage, usual_proxy
from bench.table import Row

_SCRAPES = 500
_BATCHES = 5
"""The fastest batch is the result: noise on a shared machine only adds time."""


def measure() -> list[Row]:
    with application(1000) as url, injector() as (service, folder):
        with proxy(url, service, folder) as pod:
            ours = _best(pod.port, pod.pid)
        with usual_proxy(url) as (port, pid):
            usual = _best(port, pid)
        with nginx_proxy(url) as nginx:
            passed = "" if nginx is None else f"; nginx, compressed: {_best(*nginx):.2f} ms"
    others = f"without labels: starlette + uvicorn + httpx, not compressed: {usual:.2f} ms{passed}"
    return [Row("one scrape of 1,000 series through the proxy", ours, "ms CPU", 0.7, others)]


def _best(port: int, pid: int) -> float:
    """Return the CPU milliseconds of one scrape."""
    scrape(port, 50)
    batches = []
    for _ in range(_BATCHES):
        before = usage(pid).cpu_seconds
        scrape(port, _SCRAPES)
        batches.append((usage(pid).cpu_seconds - before) / _SCRAPES * 1000)
    return min(batches)

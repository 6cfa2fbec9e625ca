"""Memory of a pod's proxy: idle with its policy stream open, and while it is scraped."""

from bench.rig import application, injector, nginx_proxy, proxy, scrape, usage, usual_proxy
from bench.table import Row

_MB = 1e6


def measure() -> list[Row]:
    with application(1000) as url, injector() as (service, folder):
        with proxy(url, service, folder) as pod:
            idle = pod.usage().resident_bytes
            scrape(pod.port, 60, 0.1)
            busy = pod.usage().resident_bytes
        with usual_proxy(url) as (port, pid):
            usual = _after_scrapes(port, pid)
        with nginx_proxy(url) as nginx:
            passed = "" if nginx is None else f"; nginx's worker {_after_scrapes(*nginx):.1f} MB"
    return [
        Row("pod proxy, idle, policy stream open", idle / _MB, "MB RSS", 28, "–"),
        Row(
            "pod proxy, 1,000 series scraped repeatedly",
            busy / _MB,
            "MB RSS",
            32,
            f"passing the same through: starlette + uvicorn + httpx {usual:.1f} MB{passed}",
        ),
    ]


def _after_scrapes(port: int, pid: int) -> float:
    scrape(port, 60, 0.1)
    return usage(pid).resident_bytes / _MB

"""A pod's proxy: memory idle with its policy stream open, and while it is scraped."""

from bench.rig import application, injector, proxy, scrape, usage, usual_proxy
from bench.table import Row

_MB = 1e6


def measure() -> list[Row]:
    with application(1000) as url, injector() as (service, folder):
        with proxy(url, service, folder) as pod:
            idle = pod.usage().resident_bytes
            scrape(pod.port, 60, 0.1)
            busy = pod.usage().resident_bytes
        with usual_proxy(url) as (port, pid):
            scrape(port, 60, 0.1)
            usual = usage(pid).resident_bytes
    return [
        Row("pod proxy, idle, policy stream open", idle / _MB, "MB RSS", 32, "–"),
        Row(
            "pod proxy, 1,000 series scraped again and again",
            busy / _MB,
            "MB RSS",
            36,
            f"starlette + uvicorn + httpx passing the same through: {usual / _MB:.1f} MB",
        ),
    ]

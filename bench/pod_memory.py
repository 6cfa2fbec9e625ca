"""A pod's proxy: memory idle with its policy stream open, and while it is scraped."""

from bench.rig import (
    application,
    fetch,
    free_port,
    injector,
    process,
    proxy,
    scrape,
    usage,
    wait_until,
)
from bench.table import Row

_MB = 1e6


def measure() -> list[Row]:
    with application(1000) as url, injector() as (service, folder):
        with proxy(url, service, folder) as pod:
            idle = pod.usage().resident_bytes
            scrape(pod.port, 60, 0.1)
            busy = pod.usage().resident_bytes
        usual = _usual(url)
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


def _usual(url: str) -> int:
    port = free_port()
    with process("-m", "bench.plain_proxy", str(port), url) as started:
        wait_until(lambda: _answers(port))
        scrape(port, 60, 0.1)
        return usage(started.pid).resident_bytes


def _answers(port: int) -> bool:
    try:
        return bool(fetch(f"http://127.0.0.1:{port}/metrics"))
    except OSError:
        return False

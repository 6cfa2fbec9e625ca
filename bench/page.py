"""The status page with 1,000 workloads in 200 namespaces, in a real Chromium."""

import asyncio
import json
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from bench.rig import NAME
from bench.served import Injector, client_tls, served
from bench.table import Row
from sidecar.http.connection import Connection, render_request
from tests.real_parts.chromium import running_chromium

NAMESPACES = 200
WORKLOADS = 1000
VISITS = 9
REFRESHES = 20
_NAMESPACE = """\
---
apiVersion: v1
kind: Namespace
metadata:
  name: ns-{number}
  labels: {{livery.dev/inject: enabled, team: team-{number}, turn: "{turn}"}}
---
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {{name: metrics, namespace: ns-{number}}}
spec: {{metrics: [http_requests_total, "http_.*"], metricIsolation: true}}
"""
_REFRESH = """async () => {
  const started = performance.now();
  const answer = await fetch("/live");
  renewChildren(live, parse(await answer.text()));
  tick();
  void document.body.offsetHeight;
  return performance.now() - started;
}"""
_PAINT_ENTRIES = "performance.getEntriesByName('first-contentful-paint')"
_BYTES = """performance.getEntriesByType("navigation")
  .concat(performance.getEntriesByType("resource"))
  .reduce((sum, entry) => sum + entry.transferSize, 0)"""


def measure() -> list[Row]:
    with running_chromium() as browser:
        with _stage(has_page=False) as (injector, _):
            without = injector.usage().resident_bytes
        with _stage(has_page=True) as (injector, folder):
            address = f"http://localhost:{injector.status_port}/"
            paints, size = _visit(browser, address)
            refreshes = _refresh(browser, address, folder)
            more = injector.usage().resident_bytes - without
    many = f"{WORKLOADS:,} workloads and {NAMESPACES} namespaces"
    return [
        Row("status page, first paint", statistics.median(paints), "ms", 200,
            f"{many}; slowest of {VISITS} visits: {max(paints):.0f} ms"),
        Row("status page, total download", size / 1000, "kB", 100, many),
        Row("status page, a refresh", statistics.median(refreshes), "ms", 300,
            f"request, response, rendering; slowest of {REFRESHES}: {max(refreshes):.0f} ms"),
        Row("status page, memory in the injector", more / 1e6, "MB", 30,
            f"{without / 1e6:.0f} MB without a page"),
    ]  # fmt: skip


@contextmanager
def _stage(*, has_page: bool) -> Iterator[tuple[Injector, Path]]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for number in range(WORKLOADS):
            tokens = folder / "tokens" / f"ns-{number % NAMESPACES}"
            tokens.mkdir(parents=True, exist_ok=True)
            (tokens / f"web-{number}").write_text(f"token-{number}")
        (folder / "world").mkdir()
        _write_world(folder, 0)
        with served(folder, has_page=has_page) as injector:
            # Playwright runs an event loop in this thread.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _report(injector, folder)).result()
            yield injector, folder


def _write_world(folder: Path, turn: int) -> None:
    texts = [_NAMESPACE.format(number=number, turn=turn) for number in range(NAMESPACES)]
    changed = folder / "world.new"
    changed.write_text("".join(texts))
    changed.replace(folder / "world" / "world.yaml")


async def _report(injector: Injector, folder: Path) -> None:
    connection = await Connection.open(
        "127.0.0.1", injector.control_port, tls=client_tls(folder), server_name=NAME
    )
    for number in range(WORKLOADS):
        target = {"url": "http://:8080/metrics", "up": number % 50 > 0, "error": "", "samples": 900}
        body = json.dumps({
            "role": "pod", "proxyVersion": "0.1.0", "policyVersion": "9f2c4a1b",
            "targets": [target], "policyAgeSeconds": 12.0, "samples": 900,
            "residentBytes": 29_400_000,
        }).encode()  # fmt: skip
        headers = {"Host": NAME, "Authorization": f"Bearer token-{number}"}
        status = await connection.send(render_request("POST", "/v1/report", headers, body))
        if status >= 300:
            raise RuntimeError(f"a report was answered with status {status}")
        while await connection.read():
            pass
    connection.close()


def _visit(browser: Browser, address: str) -> tuple[list[float], float]:
    """Open the page without a cache each time; return the paint times (ms) and the bytes loaded."""
    paints: list[float] = []
    size = 0.0
    for _ in range(VISITS):
        context = browser.new_context()
        page = context.new_page()
        page.goto("about:blank")
        _open(page, address)
        paints.append(page.evaluate(f"{_PAINT_ENTRIES}[0].startTime"))
        size = page.evaluate(_BYTES)
        context.close()
    return paints, size


def _refresh(browser: Browser, address: str, folder: Path) -> list[float]:
    page = browser.new_page()
    _open(page, address)
    times = []
    for turn in range(1, REFRESHES + 1):
        _write_world(folder, turn)
        page.get_by_text(f"turn={turn}").first.wait_for()
        times.append(page.evaluate(_REFRESH))
    page.close()
    return times


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#workloads tbody tr").first.wait_for()
    page.wait_for_function(f"() => {_PAINT_ENTRIES}.length > 0")

"""A real Prometheus scrapes a real proxy."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program, running_prometheus
from tests.sidecar.apps import OPENMETRICS, App, http
from tests.sidecar.processes import running_proxy

pytestmark = pytest.mark.anyio

_TEXT = b"# TYPE requests counter\nrequests 5\n"
_EXEMPLAR = b'# TYPE requests counter\nrequests_total 5 # {trace_id="abc"} 1 %d.0\n# EOF\n'


@pytest.fixture(scope="session")
def _prometheus() -> None:
    have(prometheus_program)


def _config(port: int) -> str:
    return f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: pods
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


async def _wait_for(running: Prometheus, query: str, value: str) -> dict[str, str]:
    async with asyncio.timeout(10):
        while True:
            result: list[dict[str, Any]] = await asyncio.to_thread(running.query, query)
            if [item["value"][1] for item in result] == [value]:
                labels: dict[str, str] = result[0]["metric"]
                return labels
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("_prometheus")
async def test_series_carry_their_labels_and_up_tells_of_the_application(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("labels: {team: blue}")
    arguments = ("--policy", str(policy))
    async with App(http(_TEXT)) as app:
        with (
            running_proxy("--target", app.target, *arguments, log=tmp_path / "log") as proxy,
            running_prometheus(_config(proxy.port()), tmp_path / "prometheus") as running,
        ):
            labels = await _wait_for(running, "requests", "5")
            assert labels["team"] == "blue"
            await _wait_for(running, "up", "1")
            app.answer = http(b"", status="500 Oh")
            await _wait_for(running, "up", "0")


@pytest.mark.usefixtures("_prometheus")
async def test_openmetrics_with_exemplars_is_ingested(tmp_path: Path) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(http(_EXEMPLAR % time.time(), OPENMETRICS))

    async with App(answer) as app:
        with (
            running_proxy("--target", app.target, log=tmp_path / "log") as proxy,
            running_prometheus(_config(proxy.port()), tmp_path / "prometheus") as running,
        ):
            await _wait_for(running, "requests_total", "5")
            await _wait_for(running, "up", "1")

    assert "Accept: application/openmetrics-text;version=1.0.0" in app.requests[0]

"""Requests of Grafana's Prometheus data source to a gateway before an old and a new Prometheus.

Taken from its documentation and from user reports: health checks by a constant query and by
buildinfo, panels by POST with forms, variables, the metric browser and completion by series, labels
and label values, metadata, exemplars, annotations, rules.

Source: https://grafana.com/docs/grafana/latest/datasources/prometheus/
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from sidecar.auth.users import hash_password
from sidecar.http.connection import Connection, render_request
from sidecar.roles.gateway.role import GatewayRole
from sidecar.roles.gateway.settings import parse_gateway_settings
from tests.real_parts.presence import have
from tests.real_parts.prometheus import (
    Prometheus,
    debian_prometheus_program,
    prometheus_program,
    running_prometheus,
)
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio

_LOGIN = "Basic " + base64.b64encode(b"grafana:pw").decode()
_CONFIG = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
- job_name: web
  static_configs: [{targets: ["127.0.0.1:1", "127.0.0.1:2"], labels: {namespace: shop}}]
- job_name: ledger
  static_configs: [{targets: ["127.0.0.1:3"], labels: {namespace: bank}}]
"""


@pytest.fixture(scope="module", params=["2.42", "3.x"])
def prometheus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    find: Callable[[], Path] = (
        debian_prometheus_program if request.param == "2.42" else prometheus_program
    )
    program = have(find)
    with running_prometheus(_CONFIG, tmp_path_factory.mktemp("grafana"), program) as running:
        deadline = time.monotonic() + 20
        # Queries are evaluated at whole seconds, so samples must be older than that.
        while len(running.query("up offset 2s")) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        yield running


class DataSource:
    """A data source that points at a gateway, with a tenant's name and password."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str, *pairs: tuple[str, str]) -> Any:
        """Send a GET; return the response's `data`."""
        return await self._ask("GET", f"/api/v1/{path}?{urlencode(pairs)}")

    async def post(self, path: str, *pairs: tuple[str, str]) -> Any:
        """Send a POST with a form; return the response's `data`."""
        return await self._ask("POST", f"/api/v1/{path}", urlencode(pairs).encode())

    async def _ask(self, method: str, target: str, body: bytes = b"") -> Any:
        headers = {
            "Host": "gateway:8080", "Authorization": _LOGIN, "User-Agent": "Grafana/12.0.0",
            "Accept-Encoding": "gzip", "X-Grafana-Org-Id": "1", "X-Dashboard-Uid": "abc",
            "X-Panel-Id": "7", "X-Query-Group-Id": "x",
        }  # fmt: skip
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = await Connection.open("127.0.0.1", self.port)
        status = await connection.send(render_request(method, target, headers, body))
        raw = bytearray()
        while part := await connection.read():
            raw += part
        if connection.headers.get("content-encoding") == "gzip":
            import gzip

            raw = bytearray(gzip.decompress(raw))
        connection.close()
        answer = json.loads(raw)
        assert status == 200, answer
        assert answer["status"] == "success"
        return answer["data"]


@pytest.fixture
async def grafana(prometheus: Prometheus, tmp_path: Path) -> AsyncIterator[DataSource]:
    rule = {"name": "a", "patterns": ["up", "scrape_.*"], "namespaces": ["shop"]}
    (tmp_path / "tenants").write_text(json.dumps({"tenants": {"shop": [rule]}}))
    user = {"name": "grafana", "passwordHash": hash_password("pw"), "tenants": ["shop"]}
    (tmp_path / "users").write_text(json.dumps({"users": [user]}))
    arguments = [
        "--role=gateway", "--port=0", "--admin-port=0", f"--policy={tmp_path / 'tenants'}",
        f"--users={tmp_path / 'users'}", f"--backend={prometheus.url}",
    ]  # fmt: skip
    role = GatewayRole(parse_gateway_settings(arguments, {}))
    stop = asyncio.Event()
    running = asyncio.create_task(role.run(stop))
    await until(lambda: len(role.ports.bound) == 2)
    yield DataSource(role.ports.bound["queries"])
    stop.set()
    await running


def _span() -> tuple[tuple[str, str], tuple[str, str]]:
    now = int(time.time())
    return ("start", str(now - 60)), ("end", f"{now}.5")


async def test_save_and_test_finds_a_prometheus(grafana: DataSource) -> None:
    now = f"{time.time():.3f}"
    assert (await grafana.post("query", ("query", "1+1"), ("time", now)))["result"][1] == "2"
    build = await grafana.get("status/buildinfo")
    assert build["version"].startswith("3.")


async def test_panels_have_the_tenant_s_series(grafana: DataSource) -> None:
    panel = ("query", 'sum by (job, namespace) (up{job=~"web|ledger"})')
    data = await grafana.post("query_range", panel, *_span(), ("step", "15"))
    assert data["resultType"] == "matrix"
    assert [item["metric"]["namespace"] for item in data["result"]] == ["shop"]
    table = await grafana.post("query", ("query", "up"), ("time", str(int(time.time()))))
    assert {item["metric"]["namespace"] for item in table["result"]} == {"shop"}
    assert len(table["result"]) == 2
    nothing = await grafana.post("query", ("query", 'up{namespace="bank"}'))
    assert nothing["result"] == []


async def test_variables_have_the_tenant_s_values(grafana: DataSource) -> None:
    everything = await grafana.get("label/namespace/values", *_span())
    assert everything == ["shop"]
    jobs = await grafana.get("label/job/values", ("match[]", 'up{namespace=~".+"}'), *_span())
    assert jobs == ["web"]
    names = await grafana.get("label/__name__/values", *_span(), ("limit", "40000"))
    assert "up" in names
    assert not any(name.startswith("prometheus_") for name in names)
    series = await grafana.post("series", ("match[]", "up"), *_span())
    assert {item["namespace"] for item in series} == {"shop"}
    result = await grafana.get("query", ("query", "count by (instance) (up)"))
    assert len(result["result"]) == 2


async def test_the_metric_browser_and_completion_work(grafana: DataSource) -> None:
    for method in (grafana.get, grafana.post):
        labels = await method("labels", *_span())
        assert {"__name__", "instance", "job", "namespace"} <= set(labels)
        labels = await method("labels", ("match[]", '{__name__="up",job="web"}'), *_span())
        assert "instance" in labels
    found = await grafana.get("series", ("match[]", 'up{job="web"}'), ("match[]", "down"), *_span())
    assert len(found) == 2
    assert isinstance(await grafana.get("metadata", ("limit_per_metric", "1")), dict)
    assert isinstance(await grafana.get("metadata", ("metric", "up")), dict)


async def test_exemplars_annotations_and_alerts_are_answered(grafana: DataSource) -> None:
    assert await grafana.post("query_exemplars", ("query", "up"), *_span()) == []
    marks = await grafana.post("query_range", ("query", "up == 0"), *_span(), ("step", "60"))
    assert all(item["metric"]["namespace"] == "shop" for item in marks["result"])
    assert await grafana.get("rules") == {"groups": []}
    assert await grafana.get("rules", ("type", "alert")) == {"groups": []}
    assert await grafana.get("alerts") == {"alerts": []}


async def test_the_query_builder_formats_what_it_is_given(grafana: DataSource) -> None:
    assert await grafana.get("format_query", ("query", "sum(up)by(job)")) == "sum by (job) (up)"

"""The alerting example with a real Prometheus and a real Alertmanager before a node's proxy."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real_parts.alertmanager import alertmanager_program, running_alertmanager
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program, running_prometheus
from tests.sidecar.apps import http
from tests.sidecar.kubelets import node_proxy

pytestmark = pytest.mark.anyio

ALERTING = Path(__file__).parents[2] / "examples" / "alerting"
CADVISOR = b"""\
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="web",namespace="shop",pod="web-0"} 95 1700000000000
container_memory_working_set_bytes{container="app",namespace="bank",pod="app-0"} 10 1700000000000
# TYPE container_spec_memory_limit_bytes gauge
container_spec_memory_limit_bytes{container="web",namespace="shop",pod="web-0"} 100 1700000000000
container_spec_memory_limit_bytes{container="app",namespace="bank",pod="app-0"} 100 1700000000000
"""


class _Receivers(HTTPServer):
    """Takes what Alertmanager sends; `heard` is receiver, status and team of each alert."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.heard: list[tuple[str, str, str]] = []


class _Receiver(BaseHTTPRequestHandler):
    server: _Receivers

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        receiver = self.path.strip("/")
        self.server.heard += [
            (receiver, alert["status"], alert["labels"].get("team", "")) for alert in body["alerts"]
        ]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *given: object) -> None:
        pass


@contextmanager
def _receiving() -> Iterator[_Receivers]:
    server = _Receivers()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.05)


async def test_an_alert_goes_to_whoever_owns_the_namespace_now(tmp_path: Path) -> None:
    have(alertmanager_program)
    have(prometheus_program)
    alerts = (ALERTING / "alerts.yaml").read_text().replace("for: 5m", "for: 0s")
    (tmp_path / "alerts.yaml").write_text(alerts)
    teams = {"shop": {"team": "frontend"}, "bank": {"team": "backend"}}
    async with node_proxy(tmp_path, http(CADVISOR)) as kubelet:
        kubelet.tell({"namespaces": teams})
        with _receiving() as receivers:
            routes = yaml.safe_load((ALERTING / "alertmanager.yaml").read_text())
            routes["route"] |= {"group_wait": "100ms", "group_interval": "100ms"}
            for receiver in routes["receivers"]:
                port = receivers.server_port
                receiver["webhook_configs"][0]["url"] = (
                    f"http://127.0.0.1:{port}/{receiver['name']}"
                )
            with running_alertmanager(json.dumps(routes), tmp_path / "am") as address:
                config = _prometheus(kubelet.role.ports.bound["metrics"], address, tmp_path)
                with running_prometheus(config, tmp_path / "prometheus"):
                    await _until(lambda: receivers.heard)
                    assert set(receivers.heard) == {("frontend", "firing", "frontend")}
                    kubelet.tell({"namespaces": {**teams, "shop": {"team": "backend"}}})
                    await _until(lambda: ("backend", "firing", "backend") in receivers.heard)
                    # The old team's alert is over: no series of it is left beside the new one.
                    over = ("frontend", "resolved", "frontend")
                    await _until(lambda: over in receivers.heard)
                    assert not [one for one in receivers.heard if one[0] != one[2]]


def _prometheus(port: int, alertmanager: str, folder: Path) -> str:
    document = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms",
                   "evaluation_interval": "200ms"},
        "rule_files": [str(folder / "alerts.yaml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "nodes", "honor_labels": True, "metrics_path": "/metrics/cadvisor",
             "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]},
        ],
    }  # fmt: skip
    return json.dumps(document)


def test_the_operator_s_example_says_the_same_as_alertmanager_s() -> None:
    own = yaml.safe_load((ALERTING / "alertmanager.yaml").read_text())
    spec = yaml.safe_load((ALERTING / "alertmanagerconfig.yaml").read_text())["spec"]

    routes = {
        route["receiver"]: [f'{item["name"]}{item["matchType"]}"{item["value"]}"'
                            for item in route["matchers"]]
        for route in spec["route"]["routes"]
    }  # fmt: skip
    assert routes == {route["receiver"]: route["matchers"] for route in own["route"]["routes"]}
    assert [item["webhookConfigs"] for item in spec["receivers"]] == [
        item["webhook_configs"] for item in own["receivers"]
    ]
    assert spec["route"]["groupBy"] == own["route"]["group_by"]

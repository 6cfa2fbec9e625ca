"""The role over its control stream; `tests/cluster/test_aggregate.py` uses a real API server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.control import client as control
from sidecar.roles.aggregate.role import AggregateRole, start
from tests.sidecar.apps import App, get, http, until
from tests.sidecar.control_service import CA, ControlService, message
from tests.sidecar.model.pods.test_scraped_pod import raw_pod

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _reports_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REPORT_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(control, "REPORT_INTERVAL_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def _running(
    folder: Path, service: ControlService, *arguments: str
) -> AsyncIterator[AggregateRole]:
    (folder / "token").write_text("token")
    environ = {
        "LIVERY_CONTROL_URL": f"https://control:{service.app.port}",
        "LIVERY_CONTROL_ADDRESS": "127.0.0.1",
        "LIVERY_CONTROL_CA": CA.certificate_pem,
        "LIVERY_TOKEN_FILE": str(folder / "token"),
        "POD_LABEL_SELECTOR": "app=web",
    }
    given = ["--role", "aggregate", "--port", "0", "--admin-port", "0", "--allow-local-addresses"]
    role = start([*given, *arguments], environ)
    stop = asyncio.Event()
    task = asyncio.create_task(role.run(stop))
    try:
        await until(lambda: len(role.ports.bound) == 2)
        yield role
    finally:
        stop.set()
        await task


def _pod(name: str, port: int, **changes: Any) -> dict[str, Any]:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}
    return raw_pod(
        metadata__name=name, metadata__uid=name, metadata__annotations=annotations,
        status={"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}]}, **changes,
    )  # fmt: skip


def _put(key: str, value: object) -> bytes:
    return message("put", key=key, value=value)


def _policy(*pods: dict[str, Any], version: str = "1", **platform: object) -> bytes:
    lines = [_put("platform", platform), _put("namespace/shop", {"team": "blue"})]
    lines += [_put(f"pod/shop/{pod['metadata']['uid']}", pod) for pod in pods]
    return b"".join([*lines, message("synced", version=version)])


def _port(role: AggregateRole, what: str = "metrics") -> int:
    return role.ports.bound[what]


async def _text(role: AggregateRole) -> str:
    reply = await get(_port(role))
    assert reply.status == 200, reply.text
    return reply.text


async def test_pods_of_the_stream_are_scraped_and_labelled(tmp_path: Path) -> None:
    service = ControlService()
    async with App(http(b"a 1\n")) as app, service.app:
        service.greeting = _policy(_pod("web-0", app.port), _pod("web-1", app.port))
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)
            text = await _text(role)

    assert 'a{team="blue",namespace="shop",pod="web-0"} 1\n' in text
    assert 'up{team="blue",namespace="shop",pod="web-1"} 1\n' in text


async def test_before_the_list_of_pods_it_is_not_ready_and_says_so(tmp_path: Path) -> None:
    service = ControlService()
    async with service.app, _running(tmp_path, service) as role:
        data = await get(_port(role))
        admin = await get(_port(role, "admin"), "/readyz")

    assert (data.status, data.text) == (503, "the list of pods has not arrived yet\n")
    assert (admin.status, admin.text) == (503, "pods: the list of pods has not arrived yet\n")


async def test_a_pod_that_comes_or_goes_is_in_the_next_scrape_or_not(tmp_path: Path) -> None:
    service = ControlService()
    async with App(http(b"a 1\n")) as app, service.app:
        service.greeting = _policy(_pod("web-0", app.port))
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)
            assert 'pod="web-1"' not in await _text(role)
            service.say(_put("pod/shop/web-1", _pod("web-1", app.port)))
            service.say(message("synced", version="2"))
            client = role.source.policy.client
            assert client is not None
            await until(lambda: client.version == "2")
            assert 'pod="web-1"' in await _text(role)
            service.say(message("delete", key="pod/shop/web-0") + message("synced", version="3"))
            await until(lambda: client.version == "3")

            assert 'pod="web-0"' not in await _text(role)


async def test_a_label_edit_is_in_the_next_scrape(tmp_path: Path) -> None:
    service = ControlService()
    async with App(http(b"a 1\n")) as app, service.app:
        service.greeting = _policy(_pod("web-0", app.port))
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)
            await _text(role)
            service.say(_put("namespace/shop", {"team": "green"}))
            service.say(message("synced", version="2"))
            client = role.source.policy.client
            assert client is not None
            await until(lambda: client.version == "2")

            assert 'a{team="green",' in await _text(role)


async def test_when_all_pods_fail_or_none_matches_the_answer_is_200(tmp_path: Path) -> None:
    service = ControlService()
    async with service.app:
        service.greeting = _policy(_pod("web-0", 1))
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)
            assert 'up{team="blue",namespace="shop",pod="web-0"} 0\n' in await _text(role)
            service.say(message("delete", key="pod/shop/web-0") + message("synced", version="2"))
            client = role.source.policy.client
            assert client is not None
            await until(lambda: client.version == "2")

            assert "pod=" not in await _text(role)


async def test_the_admin_port_says_why_a_pod_is_down(tmp_path: Path) -> None:
    service = ControlService()
    async with service.app:
        service.greeting = _policy(_pod("web-0", 1))
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)
            await _text(role)
            shown = json.loads((await get(_port(role, "admin"), "/targets")).body)
            metrics = (await get(_port(role, "admin"))).text

    assert shown["targets"][0]["error"].startswith("connection refused on port 1")
    assert (shown["selector"], shown["trouble"], shown["notGranted"]) == ("app=web", "", [])
    assert 'livery_aggregate_targets{state="down"} 1' in metrics
    assert "livery_aggregate_control_connected 1" in metrics


async def test_the_report_names_what_is_wrong(tmp_path: Path) -> None:
    service = ControlService()
    async with service.app:
        service.greeting = _policy(_pod("web-0", 1), granted=["shop"])
        async with _running(tmp_path, service, "-n", "shop", "-n", "bank") as role:
            await until(lambda: not role.source.fault)
            await _text(role)
            await until(lambda: bool(service.report.get("targets")))

    report: dict[str, Any] = service.report
    assert report["role"] == "aggregate"
    assert report["targets"][0]["error"].startswith("connection refused")
    assert report["faults"] == [
        "not granted: bank; add them for this service account to control.grants.aggregates",
        "1 of 1 targets are down, including shop/web-0 http://127.0.0.1:1/metrics",
    ]


async def test_where_no_pod_matches_the_report_says_why(tmp_path: Path) -> None:
    service = ControlService()
    async with service.app:
        service.greeting = _policy(granted=["shop"])
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)
            report = role.report()

    assert report["faults"] == ["there is no pod that matches 'app=web' in namespace shop"]


@pytest.mark.parametrize(
    ("path", "status"), [("/", 404), ("/metrics/", 404), ("/metrics?x=1", 200), ("/targets", 404)]
)
async def test_only_metrics_are_served_on_the_data_port(
    tmp_path: Path, path: str, status: int
) -> None:
    service = ControlService()
    async with service.app:
        service.greeting = _policy()
        async with _running(tmp_path, service) as role:
            await until(lambda: not role.source.fault)

            assert (await get(_port(role), path)).status == status


@pytest.mark.parametrize(
    ("given", "header", "least", "most"),
    [
        # On a busy machine, part of the time is over before the pods are scraped.
        ("", "", 7.5, 9.1),
        ("", "3", 1.5, 2.8),
        ("2s", "", 0.5, 2.1),
        ("2s", "30", 0.5, 2.1),
        ("30s", "3", 1.5, 2.8),
        ("15s", "", 13.5, 15.1),
    ],
)
async def test_the_time_for_pods_is_the_scrapers_within_what_was_given(
    tmp_path: Path, given: str, header: str, least: float, most: float
) -> None:
    service = ControlService()
    async with App(http(b"a 1\n")) as app, service.app:
        service.greeting = _policy(_pod("web-0", app.port))
        arguments = ("--timeout", given) if given else ()
        async with _running(tmp_path, service, *arguments) as role:
            await until(lambda: not role.source.fault)
            headers = {"X_Prometheus_Scrape_Timeout_Seconds": header} if header else {}
            await get(_port(role), "/metrics", **headers)

    asked = app.requests[0].lower().partition("x-prometheus-scrape-timeout-seconds: ")[2]
    assert least < float(asked.split("\r\n")[0]) < most

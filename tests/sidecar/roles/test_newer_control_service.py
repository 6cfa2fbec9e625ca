"""Proxies can be older than the injector: a newer policy for today's proxy, in each role."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.control import client as control
from sidecar.roles.node.role import NodeRole
from sidecar.roles.node.role import start as start_node
from sidecar.roles.pod.role import PodRole
from sidecar.roles.pod.role import start as start_pod
from tests.sidecar.apps import App, get, http, until
from tests.sidecar.control_service import CA, ControlService, message

pytestmark = pytest.mark.anyio

_DROP_B = {"sourceLabels": ["__name__"], "regex": "b", "action": "drop"}
_FUTURE_RULE = {"action": "from-the-future"}


@pytest.fixture(autouse=True)
def _reports_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REPORT_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(control, "REPORT_INTERVAL_SECONDS", 0.01)


def _environ(service: ControlService, folder: Path) -> Mapping[str, str]:
    (folder / "token").write_text("token")
    return {
        "LIVERY_CONTROL_URL": f"https://control:{service.app.port}",
        "LIVERY_CONTROL_ADDRESS": "127.0.0.1",
        "LIVERY_CONTROL_CA": CA.certificate_pem,
        "LIVERY_TOKEN_FILE": str(folder / "token"),
        "LIVERY_POD_NAMESPACE": "shop",
    }


@contextlib.asynccontextmanager
async def _running(role: PodRole | NodeRole) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(role.run(stop))
    try:
        await until(lambda: len(role.ports.bound) == 2)
        yield
    finally:
        stop.set()
        await task


def _whole(version: str, **policy: Any) -> bytes:
    return message("policy", version=version, policy=policy)


async def test_a_pods_proxy_goes_on_with_a_newer_policy(tmp_path: Path) -> None:
    service = ControlService()
    rule = {"name": "a", "patterns": ["a", "b"], "namespaces": ["shop"]}
    newer_rule = {"name": "z", "patterns": ["secret"], "namespaces": ["shop"], "unless": "gold"}
    service.greeting = _whole(
        "1", labels={"team": "old"}, metricRelabelings=[_DROP_B], access=[rule]
    )
    async with service.app, App(http(b"a 1\nb 2\nsecret 3\n")) as app:
        arguments = ["--role", "pod", "--target", app.target, "--filter", "metricaccess",
                     "--port", "0", "--admin-port", "0"]  # fmt: skip
        role = start_pod(arguments, _environ(service, tmp_path))
        async with _running(role):
            await until(lambda: role.policy.series.labels == {"team": "old"})
            newer = {
                "labels": {"team": "new"},
                "metricRelabelings": [_FUTURE_RULE],
                "access": [rule, newer_rule],
                "mirror": [{"to": "x"}],
            }
            service.say(_whole("2", **newer))
            await until(lambda: service.report.get("policyVersion") == "2")

            # Labels change, the last valid relabel rules stay, the new access rule grants nothing.
            assert (await get(role.data_port)).text == 'a{team="new"} 1\n'
    assert service.report["policyIgnored"] == ["mirror"]
    assert "metricRelabelings[0].action" in str(service.report["policyError"])


async def test_a_nodes_proxy_goes_on_with_newer_keys(tmp_path: Path) -> None:
    service = ControlService()
    service.greeting = b"".join(
        [
            message("put", key="platform", value={"metricRelabelings": [_DROP_B]}),
            message("put", key="namespace/shop", value={"team": "old"}),
            message("synced", version="1"),
        ]
    )
    text = b'a{namespace="shop"} 1\nb{namespace="shop"} 2\n'
    async with service.app, App(http(text)) as kubelet:
        arguments = ["--role", "node", "--auth=none", "--kubelet-url", f"http://127.0.0.1:{kubelet.port}",
                     "--kubelet-token-file", "", "--port", "0", "--admin-port", "0"]  # fmt: skip
        role = start_node(arguments, _environ(service, tmp_path))
        async with _running(role):
            await until(lambda: role.policy.namespace_labels == {"shop": {"team": "old"}})
            platform = {"metricRelabelings": [_FUTURE_RULE], "sampling": 0.5}
            for line in (
                message("put", key="platform", value=platform),
                message("put", key="quota/shop", value=7),
                message("put", key="namespace/shop", value={"team": "new"}),
                message("synced", version="2"),
            ):
                service.say(line)
            await until(lambda: service.report.get("policyVersion") == "2")

            assert (await _fetch(role)) == 'a{namespace="shop",team="new"} 1\n'
    assert sorted(service.report["policyIgnored"]) == ["quota/shop", "sampling"]  # type: ignore[call-overload]
    assert "metricRelabelings[0].action" in str(service.report["policyError"])


async def _fetch(role: NodeRole) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", role.ports.bound["metrics"])
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    whole = await reader.read()
    writer.close()
    return whole.partition(b"\r\n\r\n")[2].decode()

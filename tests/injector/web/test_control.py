"""The control service over real TLS, with the proxy's own client at the other end."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from injector.app.service import Service, ServiceSettings
from injector.control import hub
from injector.errors import SettingsError
from injector.files.backend import folder_backend
from injector.platform.settings import Platform
from injector.web import servers
from sidecar.control.client import ControlClient
from sidecar.control.keyed import KeyedPolicyReceiver
from sidecar.control.receivers import PolicyReceiver
from sidecar.control.settings import ControlSettings
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.policy.node import NODE_KEYS
from sidecar.roles.pod.policy import PodPolicyReceiver

NAME = "livery-injector.livery-system.svc"
NAMESPACES = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: %s}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank, labels: {team: payments, secret-project: x}}
---
apiVersion: observability.ethos.io/v1alpha1
kind: MetricAccess
metadata: {name: rules, namespace: bank}
spec: {source: bank, metricIsolation: true, metrics: [secret_metric]}
"""


BANK = """\
apiVersion: v1
kind: Namespace
metadata: {name: bank, labels: {team: payments}}
"""


class Running:
    """A running injector and what its clients need."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.policies: list[Any] = []

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.service.ports[1]}"

    def label(self, team: str) -> None:
        (self.folder / "world" / "namespaces.yaml").write_text(NAMESPACES % team)

    def client(self, token_file: str = "web-0", role: str = "pod") -> ControlClient[Any]:
        settings = ControlSettings(
            url=self.url,
            address="127.0.0.1",
            ca_bundle=self.service.admission.ca_bundle,
            token_file=self.folder / "tokens" / "shop" / token_file,
            role=role,
        )
        receivers: dict[str, PolicyReceiver[Any]] = {
            "pod": PodPolicyReceiver(None, reads_access=True),
            "node": KeyedPolicyReceiver(NODE_KEYS),
        }
        return ControlClient(settings, receivers[role], self.policies.append)

    async def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        tls = ssl.create_default_context(cadata=self.service.admission.ca_bundle)
        async with httpx.AsyncClient(verify=tls) as client:
            url = f"https://127.0.0.1:{self.service.ports[1]}{path}"
            return await client.request(method, url, **kwargs)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(folder: Path, platform: Platform | None = None) -> AsyncIterator[Running]:
    (folder / "world").mkdir()
    (folder / "tokens" / "shop").mkdir(parents=True)
    (folder / "tokens" / "shop" / "web-0").write_text("token-of-shop")
    (folder / "world" / "namespaces.yaml").write_text(NAMESPACES % "frontend")
    settings = ServiceSettings(
        names=(NAME, "127.0.0.1"),
        host="127.0.0.1",
        admission_port=0,
        control_port=0,
        metrics_port=0,
    )
    backend = folder_backend(folder / "world", folder / "tokens", folder / "certs")
    service = Service(settings, platform or Platform(), backend)
    service.open()
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield Running(service, folder)
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


AUTHORIZED = {"Authorization": "Bearer token-of-shop"}


def test_a_label_edit_reaches_the_proxy_s_client(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            task = asyncio.create_task(injector.client().run())
            await injector.until(lambda: injector.policies)
            assert injector.policies[-1].series.labels == {"team": "frontend"}
            injector.label("backend")
            await injector.until(lambda: injector.policies[-1].series.labels == {"team": "backend"})
            task.cancel()

    asyncio.run(body())


def test_a_client_that_comes_back_is_told_that_it_is_current(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            client = injector.client()
            task = asyncio.create_task(client.run())
            await injector.until(lambda: client.version)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            text = await first_lines(injector, f"/v1/policy?role=pod&version={client.version}")

            assert '"type": "current"' in text
            assert '"type":"policy"' not in text

    asyncio.run(body())


def test_a_pod_learns_nothing_of_another_namespace(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            for query in ("role=pod", "role=pod&namespace=bank", "role=pod&version=x&pod=bank"):
                text = await first_lines(injector, f"/v1/policy?{query}")
                assert "frontend" in text
                assert "bank" not in text
                assert "secret" not in text

    asyncio.run(body())


async def first_lines(injector: Running, path: str) -> str:
    """Return what a stream sends within a moment."""
    tls = ssl.create_default_context(cadata=injector.service.admission.ca_bundle)
    lines = []
    async with httpx.AsyncClient(verify=tls) as client:
        url = f"https://127.0.0.1:{injector.service.ports[1]}{path}"
        async with client.stream("GET", url, headers=AUTHORIZED) as response:
            async for line in response.aiter_lines():
                lines.append(line)
                if json.loads(line)["type"] != "authorities":
                    break
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic token-of-shop"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {'x' * 10_000}"}, 401),
    ],
    ids=["none", "empty", "basic", "wrong", "long"],
)
def test_the_unauthenticated_are_told_nothing(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            for method, path in (("GET", "/v1/policy?role=pod"), ("POST", "/v1/report")):
                response = await injector.request(method, path, headers=headers)
                assert response.status_code == status
                assert "shop" not in response.text

    asyncio.run(body())


def test_an_unknown_role_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            path = "/v1/policy?role=cache"
            response = await injector.request("GET", path, headers=AUTHORIZED)
            assert response.status_code == 400
            assert "pod" in response.text

    asyncio.run(body())


def test_a_report_is_kept_under_the_token_s_pod(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            report = {"role": "pod", "namespace": "bank", "pod": "other"}
            path = "/v1/report"
            response = await injector.request("POST", path, json=report, headers=AUTHORIZED)
            assert response.status_code == 204
            assert [*injector.service.control.reports] == [("shop", "web-0")]

    asyncio.run(body())


def test_a_stream_needs_a_client_that_reads_chunks(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            tls = ssl.create_default_context(cadata=injector.service.admission.ca_bundle)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", injector.service.ports[1], ssl=tls, server_hostname=NAME
            )
            token = AUTHORIZED["Authorization"]
            writer.write(
                f"GET /v1/policy?role=pod HTTP/1.0\r\nAuthorization: {token}\r\n\r\n".encode()
            )
            assert b" 505 " in await reader.readline()
            writer.close()

    asyncio.run(body())


def test_only_another_replica_reads_what_proxies_reported(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            control = injector.service.control
            control.reports.put(("shop", "web-0"), {"proxyVersion": "7"})
            for account, status in (("", 403), ("livery-system/x", 403), ("shop/default", 200)):
                control.replica_account = account
                response = await injector.request("GET", "/v1/reports", headers=AUTHORIZED)
                assert response.status_code == status
            assert '"proxyVersion":"7"' in response.text
            assert (await injector.request("GET", "/v1/reports")).status_code == 401

    asyncio.run(body())


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"x" * 70_000, 413), (b"{", 400), (b"[]", 400), (b"[" * 10_000, 400)],
    ids=["large", "not-json", "no-object", "deep"],
)
def test_a_bad_report_is_refused(tmp_path: Path, content: bytes, status: int) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            path = "/v1/report"
            response = await injector.request("POST", path, content=content, headers=AUTHORIZED)
            assert response.status_code == status

    asyncio.run(body())


def test_a_node_proxy_is_told_of_every_namespace_and_then_of_changes_only(tmp_path: Path) -> None:
    async def body() -> None:
        platform = Platform(
            nodes=("shop/default",),
            node_relabelings=({"sourceLabels": ["a"], "regex": "b", "action": "drop"},),
            labels=LabelRules(prefix="ns_"),
        )
        async with running(tmp_path, platform) as injector:
            client = injector.client(role="node")
            task = asyncio.create_task(client.run())
            await injector.until(lambda: injector.policies)
            first = injector.policies[-1].policy.series.namespaces or {}
            assert first["bank"] == {"ns_team": "payments", "ns_secret_project": "x"}
            assert len(injector.policies[-1].policy.series.relabelings) == 1
            text = await first_lines(injector, "/v1/policy?role=node")
            assert "secret_metric" not in text
            injector.label("green")
            await injector.until(lambda: len(injector.policies) == 2)
            second = injector.policies[-1].policy.series.namespaces or {}
            assert (second["shop"], second["bank"]) == ({"ns_team": "green"}, first["bank"])
            (injector.folder / "world" / "namespaces.yaml").write_text(BANK)
            await injector.until(lambda: len(injector.policies) == 3)
            assert set(injector.policies[-1].policy.series.namespaces or {}) == {"bank"}
            task.cancel()

    asyncio.run(body())


def test_a_node_proxy_comes_back_with_what_it_has(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, Platform(nodes=("shop/default",))) as injector:
            client = injector.client(role="node")
            task = asyncio.create_task(client.run())
            await injector.until(lambda: injector.policies)
            injector.service.hub.close_all()
            await injector.until(lambda: client.is_connected is False)
            await injector.until(lambda: client.is_connected)
            injector.label("green")
            await injector.until(lambda: len(injector.policies) == 2)
            namespaces = injector.policies[-1].policy.series.namespaces or {}
            assert (namespaces["shop"], "bank" in namespaces) == ({"team": "green"}, True)
            task.cancel()

    asyncio.run(body())


def test_who_is_not_granted_the_node_role_is_told_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            response = await injector.request("GET", "/v1/policy?role=node", headers=AUTHORIZED)
            assert response.status_code == 403
            assert "control.grants.nodes" in response.text

    asyncio.run(body())


def test_a_folder_has_nobody_to_ask_about_tokens(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, Platform(nodes=("shop/default",))) as injector:
            path, question = "/v1/authenticate", '{"token": "x"}'
            response = await injector.request("POST", path, content=question, headers=AUTHORIZED)
            assert response.status_code == 503

    asyncio.run(body())


def test_health_and_metrics_have_a_port_of_their_own(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector, httpx.AsyncClient() as client:
            base = f"http://127.0.0.1:{injector.service.ports[2]}"
            assert (await client.get(f"{base}/healthz")).status_code == 200
            assert (await client.get(f"{base}/readyz")).status_code == 200
            text = (await client.get(f"{base}/metrics")).text
            assert "livery_certificate_expiry_timestamp_seconds" in text

    asyncio.run(body())


def test_an_exporter_is_told_every_namespace_s_labels_and_no_rules(tmp_path: Path) -> None:
    async def body() -> None:
        platform = Platform(exporters=("shop/default",))
        async with running(tmp_path, platform) as injector:
            text = await first_lines(injector, "/v1/policy?role=pod")
            policy = json.loads(text.splitlines()[-1])["policy"]
            assert policy["namespaces"]["bank"]["team"] == "payments"
            assert "secret_metric" not in text

    asyncio.run(body())


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /v1/policy HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"a" * 200_000,
        b"\x16\x03nonsense\r\n\r\n",
    ],
    ids=["endless-headers", "garbage"],
)
def test_a_bad_request_is_refused_and_harms_no_one(tmp_path: Path, request_text: bytes) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            tls = ssl.create_default_context(cadata=injector.service.admission.ca_bundle)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", injector.service.ports[1], ssl=tls, server_hostname=NAME
            )
            writer.write(request_text)
            answer = b""
            async with asyncio.timeout(5):
                # Closing while the request is still being sent may discard the response.
                with contextlib.suppress(OSError):
                    answer = await reader.read(200)
            assert not answer or b" 400 " in answer
            writer.close()
            assert (await injector.request("GET", "/v1/policy")).status_code == 401

    asyncio.run(body())


def test_a_connection_that_never_asks_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT_SECONDS", 0.1)

    async def body() -> None:
        async with running(tmp_path) as injector:
            tls = ssl.create_default_context(cadata=injector.service.admission.ca_bundle)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", injector.service.ports[0], ssl=tls, server_hostname=NAME
            )
            writer.write(b"POST /mutate HTTP/1.1\r\n")
            async with asyncio.timeout(5):
                with contextlib.suppress(OSError):
                    assert await reader.read() == b""
            writer.close()

    asyncio.run(body())


def test_a_stream_ends_when_its_token_counts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PING_SECONDS", 0.05)

    async def body() -> None:
        async with running(tmp_path) as injector:
            task = asyncio.create_task(injector.client().run())
            await injector.until(lambda: injector.service.hub.count == 1)
            (tmp_path / "tokens" / "shop" / "web-0").unlink()
            await injector.until(lambda: injector.service.hub.count == 0)
            task.cancel()

    asyncio.run(body())


def test_an_odd_entry_among_the_tokens_harms_no_other(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as injector:
            (tmp_path / "tokens" / "shop" / "folder").mkdir()
            assert "frontend" in await first_lines(injector, "/v1/policy?role=pod")

    asyncio.run(body())


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    backend = folder_backend(tmp_path / "nowhere", tmp_path, tmp_path)
    with pytest.raises(SettingsError, match="no such folder"):
        Service(ServiceSettings(names=(NAME,)), Platform(), backend).open()

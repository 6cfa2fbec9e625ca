"""The whole injector on a folder: readiness, draining, and the settings that apply."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from webhook_certs.authority import fingerprint

from injector.app.service import Service, ServiceSettings, with_control_port
from injector.control.backend import Backend
from injector.control.hub import Stream
from injector.files.backend import folder_backend
from injector.model.policies.scope import Scope
from injector.platform.settings import ControlAddress, Platform
from sidecar.model.labels.namespace_labels import LabelRules

pytestmark = pytest.mark.anyio

_NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: %s}}\n"


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "a.yaml").write_text(_NAMESPACE % "a")
    return folder_backend(tmp_path / "world", tmp_path / "tokens", tmp_path / "certs")


def _open(
    backend: Backend, *, drain_seconds: float = 0.0, status_port: int | None = None
) -> Service:
    settings = ServiceSettings(
        names=("localhost",),
        host="127.0.0.1",
        admission_port=0,
        control_port=0,
        metrics_port=0,
        status_port=status_port,
        drain_seconds=drain_seconds,
    )
    service = Service(settings, Platform(), backend)
    service.open()
    return service


@contextlib.asynccontextmanager
async def _running(service: Service) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def _readiness(service: Service) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{service.ports[2]}/readyz")


async def _until_ready(service: Service) -> None:
    async with asyncio.timeout(10):
        while (await _readiness(service)).status_code != 200:
            await asyncio.sleep(0.01)


async def _first_policy(stream: Stream) -> object:
    async for message in stream.messages(10):
        if (found := json.loads(message))["type"] == "policy":
            return found["policy"]
    return None


async def test_it_is_ready_once_it_answers_itself_by_its_own_name(backend: Backend) -> None:
    service = _open(backend)
    async with _running(service):
        await _until_ready(service)


async def test_one_that_was_told_to_stop_says_so_and_answers_on(backend: Backend) -> None:
    service = _open(backend, drain_seconds=2.0)
    async with _running(service) as stop:
        await _until_ready(service)
        port = service.ports[2]
        stop.set()
        await asyncio.sleep(0)
        answer = await _readiness(service)

    assert (answer.status_code, answer.text) == (503, "the injector is shutting down\n")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_its_end_ends_the_streams(backend: Backend) -> None:
    service = _open(backend)
    with service.hub.open(Scope("pod", "shop"), "") as stream:
        async with _running(service):
            await _until_ready(service)
            assert not stream.is_closed

        assert stream.is_closed


async def test_other_settings_take_effect_for_pods_and_policies(backend: Backend) -> None:
    service = _open(backend)
    changed = Platform(labels=LabelRules(prefix="ns_"))
    service.use_platform(changed)
    with service.hub.open(Scope("pod", "shop"), "") as stream:
        policy = await _first_policy(stream)
    async with _running(service):
        pass

    assert isinstance(policy, dict)
    assert policy["labelRules"]["prefix"] == "ns_"
    assert service.admission.platform is service.control.platform is service.sources.platform
    assert service.admission.platform is changed


async def test_every_part_is_told_the_same_ca(backend: Backend) -> None:
    service = _open(backend)
    with service.hub.open(Scope("pod", "shop"), "") as stream:
        first = json.loads(await anext(stream.messages(10)))
    facts = service.sources.certificates()
    async with _running(service):
        pass

    assert first == {"type": "authorities", "pem": service.admission.ca_bundle}
    assert facts is not None
    assert facts.fingerprint == fingerprint(service.admission.ca_bundle)


async def test_a_broken_file_is_a_problem_that_metrics_show(
    backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "world" / "b.yaml").write_text("kind: [")
    service = _open(backend)
    shown = service.metrics.registry.get_sample_value("livery_world_problems")
    async with _running(service):
        pass

    assert shown == 1


@pytest.mark.parametrize("port", [None, 0])
async def test_the_status_page_is_served_only_where_it_was_asked_for(
    backend: Backend, port: int | None
) -> None:
    service = _open(backend, status_port=port)
    async with _running(service), httpx.AsyncClient() as client:
        assert (service.status_port > 0) is (port is not None)
        if service.status_port:
            answer = await client.get(f"http://127.0.0.1:{service.status_port}/")
            assert answer.status_code == 200


def test_proxies_are_led_to_another_place_only_if_they_are_led_anywhere() -> None:
    moved = with_control_port(Platform(), "https://other:1", "10.0.0.1")

    assert moved.control == ControlAddress(url="https://other:1", address="10.0.0.1")
    assert with_control_port(Platform(control=None), "https://other:1", "").control is None

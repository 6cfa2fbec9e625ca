import asyncio
import json
from pathlib import Path

import pytest

from sidecar.errors import LiveryError, SettingsError
from sidecar.kubelet.discovery.source import Discovery, read_discovery_settings
from tests.sidecar.apps import App, http
from tests.sidecar.kubelets import AUTHORITY, kubelet_tls, pod, tell_pods

pytestmark = pytest.mark.anyio


def _write(file: Path, app: App, **changes: object) -> Path:
    tls = {"ca_pem": AUTHORITY.certificate_pem}
    document = {"url": f"https://127.0.0.1:{app.port}", "tls_config": tls, **changes}
    file.write_text(json.dumps(document))
    return file


async def test_a_kubelet_is_asked_once_an_interval_however_many_want_to_know(
    tmp_path: Path,
) -> None:
    async with App(tell_pods(pod("shop", "web")), tls=kubelet_tls()) as app:
        discovery = Discovery(_write(tmp_path / "a.yaml", app, refresh_interval="1h"))
        for _ in range(2):
            found = await asyncio.gather(*[discovery.targets() for _ in range(20)])
            assert {len(targets) for targets in found} == {1}
        assert len(app.requests) == 1
        _write(tmp_path / "a.yaml", app, refresh_interval="10ms")
        for _ in range(2):
            await discovery.targets()
            await asyncio.sleep(0.02)
        assert len(app.requests) == 3
        await discovery.close()


async def test_a_failure_is_an_error_and_the_last_good_targets_stay(tmp_path: Path) -> None:
    async with App(tell_pods(pod("shop", "web")), tls=kubelet_tls()) as app:
        discovery = Discovery(_write(tmp_path / "a.yaml", app, refresh_interval="1ms"))
        assert discovery.last_targets() is None
        first = await discovery.targets()
        for answer in (http(b"", status="500 Oh"), http(b"{}"), b"nonsense\r\n\r\n"):
            app.answer = answer
            await asyncio.sleep(0.01)
            with pytest.raises(LiveryError):
                await discovery.targets()
            assert (discovery.is_healthy, discovery.last_targets()) == (False, first)
        app.answer = tell_pods()
        await asyncio.sleep(0.01)
        assert (await discovery.targets(), discovery.is_healthy) == ([], True)
        await discovery.close()


async def test_arguments_are_read_again_when_they_change_and_bad_ones_are_named(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.yaml"
    pods = tell_pods(pod("shop", "web"), pod("bank", "app"))
    async with App(pods, tls=kubelet_tls()) as app:
        discovery = Discovery(_write(file, app, refresh_interval="1h"))
        assert len(await discovery.targets()) == 2
        _write(file, app, refresh_interval="1h", namespaces=["bank"])
        (target,) = await discovery.targets()
        file.write_text("bearer_token: a\nbearer_token_file: b\n")
        with pytest.raises(SettingsError, match="bearer_token and bearer_token_file"):
            await discovery.targets()
        assert discovery.last_targets() == [target]
        _write(file, app, namespaces=["shop"])
        assert len(await discovery.targets()) == 1
        await discovery.close()


async def test_a_renewed_ca_is_believed_without_a_restart(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nonsense")
    async with App(tell_pods(), tls=kubelet_tls()) as app:
        tls = {"ca_file": str(tmp_path / "ca")}
        discovery = Discovery(_write(tmp_path / "a.yaml", app, tls_config=tls))
        with pytest.raises(SettingsError, match="ca_file"):
            await discovery.targets()
        (tmp_path / "ca").write_text(AUTHORITY.certificate_pem)
        assert await discovery.targets() == []
        await discovery.close()


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        read_discovery_settings(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("url: [")
    with pytest.raises(SettingsError, match=r"a\.yaml: not YAML"):
        read_discovery_settings(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "bearer_token: tell-nobody: x",
        'bearer_token: "tell-nobody',
        "bearer_token: @tell-nobody",
        "bearer_token: %tell-nobody",
        "bearer_token: !!int tell-nobody",
        "bearer_token: !!timestamp tell-nobody",
        'bearer_token: !!int ""',
        "bearer_token: [tell-nobody",
    ],
)
def test_no_error_of_a_file_shows_what_stands_in_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"a\.yaml: not YAML") as caught:
        read_discovery_settings(tmp_path / "a.yaml")

    assert "tell-nobody" not in str(caught.value)

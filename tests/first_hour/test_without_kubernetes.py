"""docs/without-kubernetes.md: the unit and the Compose file; their commands with a real app."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.first_hour.blocks import ROOT
from tests.real_parts.go import RealPartMissing
from tests.real_parts.ports import free_port
from tests.real_parts.presence import have
from tests.real_parts.prometheus import promtool_program
from tests.sidecar.apps import App, get, http

pytestmark = pytest.mark.anyio

UNIT = ROOT / "examples" / "systemd" / "livery-proxy.service"
COMPOSE = ROOT / "examples" / "compose"
_METRICS = b'# TYPE http_requests_total counter\nhttp_requests_total{code="200"} 7\ngo_threads 3\n'


def _systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        raise RealPartMissing("systemd-analyze", "apt-get install systemd")
    return found


def _unit_command() -> list[str]:
    (line,) = [item for item in UNIT.read_text().splitlines() if item.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "livery-proxy"
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(_unit_command()[0], str(program)))

    ran = subprocess.run(
        [have(_systemd_analyze), "verify", "--man=no", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (ran.returncode, ran.stderr) == (0, "")


@asynccontextmanager
async def _running(command: list[str], app_port: int) -> AsyncIterator[int]:
    """Run an example's command on ports that are free here; gives the data port."""
    port, admin = free_port(), free_port()
    replaced = {
        "16090": str(port),
        "16091": str(admin),
        "8080": str(app_port),
        "/etc/livery/policy.yaml": str(ROOT / "examples" / "policy.yaml"),
    }
    text = "\0".join(command[1:])
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", *text.split("\0")),
        env={**os.environ, "LIVERY_LISTEN_ADDRESS": "127.0.0.1"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.terminate()
        assert await process.wait() == 0


def _compose_command() -> list[str]:
    service = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["web-metrics"]
    return ["livery-proxy", *service["command"]]


@pytest.mark.parametrize("command", [_unit_command, _compose_command], ids=["systemd", "compose"])
async def test_a_command_labels_the_application_s_metrics(command: object) -> None:
    assert callable(command)
    async with App(http(_METRICS)) as app, _running(command(), app.port) as port:

        async def answers() -> str:
            try:
                return (await get(port)).text
            except OSError:
                return ""

        deadline = asyncio.get_running_loop().time() + 20
        while not (text := await answers()) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    assert 'http_requests_total{code="200",cost_center="4711",team="frontend"} 7' in text
    assert "go_threads" not in text


def test_the_composition_s_proxy_shares_the_application_s_network() -> None:
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]

    assert services["web-metrics"]["network_mode"] == "service:web"
    assert services["web-metrics"]["read_only"] is True
    for service in services.values():
        for volume in service.get("volumes", ()):
            assert (COMPOSE / volume.partition(":")[0]).is_file()


def test_prometheus_takes_the_composition_s_configuration() -> None:
    ran = subprocess.run(
        [have(promtool_program), "check", "config", COMPOSE / "prometheus.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr

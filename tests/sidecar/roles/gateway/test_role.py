import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.auth.users import hash_password
from sidecar.control import client as client_module
from sidecar.errors import SettingsError
from sidecar.roles.gateway.role import GatewayRole
from sidecar.roles.gateway.settings import parse_gateway_settings
from tests.sidecar.apps import App, Reply, get, http, until
from tests.sidecar.control_service import CA, ControlService, message

pytestmark = pytest.mark.anyio

_HASH = hash_password("pw")
_DATA = http(b'{"status":"success","data":[]}', "application/json")


def _login(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:pw".encode()).decode()}


def _role(folder: Path, *others: str) -> GatewayRole:
    rule = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}
    (folder / "t.json").write_text(json.dumps({"tenants": {"shop": [rule]}}))
    users = [
        {"name": "grafana", "passwordHash": _HASH, "tenants": ["shop"]},
        {"name": "admin", "passwordHash": _HASH, "tenants": [], "admin": True},
    ]
    (folder / "u.json").write_text(json.dumps({"users": users}))
    arguments = [
        "--role=gateway", f"--policy={folder / 't.json'}", f"--users={folder / 'u.json'}",
        "--port=0", "--admin-port=0", *others,
    ]  # fmt: skip
    return GatewayRole(parse_gateway_settings(arguments, {}))


@asynccontextmanager
async def _running(folder: Path, *others: str) -> AsyncIterator[tuple[GatewayRole, App]]:
    async with App(_DATA) as app:
        role = _role(folder, f"--backend=http://127.0.0.1:{app.port}", *others)
        stop = asyncio.Event()
        running = asyncio.create_task(role.run(stop))
        await until(lambda: len(role.ports.bound) == 2)
        try:
            yield role, app
        finally:
            stop.set()
            await running


async def _admin(role: GatewayRole, path: str, name: str = "") -> Reply:
    return await get(role.ports.bound["admin"], path, **_login(name) if name else {})


async def test_a_user_asks_as_its_tenant(tmp_path: Path) -> None:
    async with _running(tmp_path) as (role, app):
        port = role.ports.bound["queries"]
        reply = await get(port, "/api/v1/label/job/values", **_login("grafana"))
        refused = await get(port, "/api/v1/label/job/values")

    assert (reply.status, reply.text) == (200, '{"status":"success","data":[]}')
    assert refused.status == 401
    asked = [head for head in app.requests if "/api/v1/" in head]
    assert len(asked) == 1
    assert "namespace%3D~%22shop%22" in asked[0]
    assert "Authorization" not in asked[0]


async def test_what_is_shown_of_all_tenants_is_for_admins(tmp_path: Path) -> None:
    async with _running(tmp_path) as (role, _):
        await until(lambda: role.backends.backends[0].seen_at is not None)
        health = json.loads((await _admin(role, "/health")).text)
        assert health == {"status": "healthy", "targets": 1, "healthy_targets": 1, "tenants": 1}
        assert (await _admin(role, "/debug/tenants")).status == 401
        assert (await _admin(role, "/debug/tenants", "grafana")).status == 403
        tenants = json.loads((await _admin(role, "/debug/tenants", "admin")).text)
        (target,) = json.loads((await _admin(role, "/debug/targets", "admin")).text)

    assert tenants == [{"id": "shop/a", "name": "a", "namespace": "shop", "rules": ["up"]}]
    assert target["healthy"]
    assert target["last_seen"]


async def test_the_admin_port_has_health_and_metrics(tmp_path: Path) -> None:
    async with _running(tmp_path) as (role, _):
        ready = await _admin(role, "/readyz")
        text = (await _admin(role, "/metrics")).text

    assert ready.status == 200
    assert "prometheus_proxy_tenants_active 1" in text


async def test_rules_of_a_file_that_changes_hold_at_once(tmp_path: Path) -> None:
    async with _running(tmp_path) as (role, _):
        (tmp_path / "t.json").write_text('{"tenants": {}}')
        await until(lambda: not role.gateway.views.rules)


def _environ(service: ControlService, folder: Path) -> dict[str, str]:
    """Return the variables that lead to a control service."""
    (folder / "token").write_text("abc")
    return {
        "LIVERY_CONTROL_URL": f"https://control:{service.app.port}",
        "LIVERY_CONTROL_ADDRESS": "127.0.0.1", "LIVERY_CONTROL_CA": CA.certificate_pem,
        "LIVERY_TOKEN_FILE": str(folder / "token"),
    }  # fmt: skip


def _stream(*lines: dict[str, object]) -> bytes:
    return b"".join(message(str(line.pop("type")), **line) for line in lines)


async def test_rules_of_the_control_service_hold_until_it_was_silent_too_long(
    tmp_path: Path,
) -> None:
    rule = {"name": "a", "patterns": ["up"], "namespaces": ["shop"]}
    (tmp_path / "users").write_text(
        json.dumps({"users": [{"name": "grafana", "passwordHash": _HASH, "tenants": ["shop"]}]})
    )
    service = ControlService()
    async with App(_DATA) as app, service.app:
        environ = _environ(service, tmp_path)
        arguments = [
            "--role=gateway", "--port=0", "--admin-port=0", f"--backend=http://127.0.0.1:{app.port}",
            f"--users={tmp_path / 'users'}", "--max-policy-age=0.5",
        ]  # fmt: skip
        role = GatewayRole(parse_gateway_settings(arguments, environ))
        stop = asyncio.Event()
        running = asyncio.create_task(role.run(stop))
        await until(lambda: len(service.streams) == 1)
        port = role.ports.bound["queries"]

        async def ask() -> Reply:
            return await get(port, "/api/v1/label/job/values", **_login("grafana"))

        assert "no access rules yet" in (await ask()).text
        service.say(
            _stream(
                {"type": "put", "key": "platform", "value": {}},
                {"type": "put", "key": "tenant/shop", "value": [rule]},
                {"type": "synced", "version": "1"},
            )
        )
        await until(lambda: bool(role.gateway.views.rules))
        assert (await ask()).status == 200
        await until(lambda: bool(role.gateway.fault))
        reply = await ask()
        assert reply.status == 503
        assert "the access rules may be out of date: not confirmed for" in reply.text
        service.say(message("ping"))
        await until(lambda: not role.gateway.fault)
        await until(lambda: bool(service.report))
        stop.set()
        await running

    assert service.report["role"] == "gateway"
    assert service.report["targets"][0]["up"]  # type: ignore[index]


async def test_what_it_begins_to_collect_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REPORT_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "REPORT_INTERVAL_SECONDS", 0.01)
    access = {"name": "front", "patterns": ["up"], "namespaces": ["shop"]}
    receiver = {"host": "127.0.0.1", "port": 1, "path": "/write"}
    rule = {"access": access, "intervalSeconds": 30, "receivers": [receiver]}
    service = ControlService()
    async with App(_DATA) as app, service.app:
        environ = _environ(service, tmp_path)
        arguments = [
            "--role=gateway", "--port=0", "--admin-port=0", "--collect",
            f"--backend=http://127.0.0.1:{app.port}",
        ]  # fmt: skip
        role = GatewayRole(parse_gateway_settings(arguments, environ))
        stop = asyncio.Event()
        running = asyncio.create_task(role.run(stop))
        await until(lambda: len(service.streams) == 2)
        await until(lambda: role.backends.backends[0].seen_at is not None and service.reports)
        await asyncio.sleep(0.3)  # nothing changes any more
        assert "sending" not in service.report

        heads = [head for head in service.app.requests if head.startswith("GET /v1/policy")]
        (at,) = [at for at, head in enumerate(heads) if "role=collector" in head]
        service.streams[at].write(
            _stream(
                {"type": "put", "key": "platform", "value": {}},
                {"type": "put", "key": "assignment/shop", "value": {}},
                {"type": "put", "key": "sending/shop/front", "value": rule},
                {"type": "synced", "version": "1"},
            )
        )
        await until(lambda: bool(service.report.get("sending")))
        stop.set()
        await running


async def test_a_trusted_source_names_tenants_by_a_header(tmp_path: Path) -> None:
    async with _running(tmp_path, "--trusted-source=127.0.0.0/8") as (role, _):
        port = role.ports.bound["queries"]
        path = "/api/v1/label/job/values"
        assert (await get(port, path, **{"X-Tenant-Namespace": "shop"})).status == 200
        assert (await get(port, f"{path}?namespace=shop")).status == 401
        assert (await get(port, path, **_login("grafana"))).status == 200


def test_rules_that_cannot_be_used_end_the_start(tmp_path: Path) -> None:
    _role(tmp_path, "--backend=http://p:1")
    (tmp_path / "t.json").write_text('{"tenants": []}')
    arguments = [
        "--role=gateway", f"--policy={tmp_path / 't.json'}", f"--users={tmp_path / 'u.json'}",
        "--backend=http://p:1",
    ]  # fmt: skip

    with pytest.raises(SettingsError, match="--policy: the policy cannot be used"):
        GatewayRole(parse_gateway_settings(arguments, {}))

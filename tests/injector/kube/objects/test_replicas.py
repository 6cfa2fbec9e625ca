"""The other replicas: discovery and requests."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from webhook_certs.authority import create_authority, issue_leaf
from webhook_certs.tls import create_server_context

from injector.app.service import Service, ServiceSettings
from injector.control.hub import PolicyHub
from injector.control.proxies import Proxies
from injector.control.reports import Reports
from injector.errors import ObjectError
from injector.files.backend import folder_backend
from injector.kube.objects import replicas as module
from injector.kube.objects.replicas import Replica, Replicas, ReplicaSettings
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform
from tests.injector.kube.servers import Answer, misbehaving
from tests.sidecar.apps import until

pytestmark = pytest.mark.anyio

NAME = "livery-injector.livery-system.svc"
PATH = "/apis/discovery.k8s.io/v1/namespaces/livery-system/endpointslices"


def _endpoint_slice(*pods: str, port: object = 8444, address: str = "127.0.0.1") -> dict[str, Any]:
    return {
        "endpoints": [
            {"addresses": [address], "targetRef": {"kind": "Pod", "name": pod}} for pod in pods
        ],
        "ports": [{"name": "metrics", "port": 9090}, {"name": "control", "port": port}],
    }


def _listed(*slices: object) -> Answer:
    return 200, json.dumps({"items": slices}).encode()


def _settings(folder: Path) -> ReplicaSettings:
    return ReplicaSettings("livery-injector", folder / "token", "injector-a")


def test_every_other_replica_is_found_once(tmp_path: Path) -> None:
    slices = (
        _endpoint_slice("injector-a", "injector-b"),
        _endpoint_slice("injector-b", "injector-c", address="fd00::1"),
        {"endpoints": [{"addresses": []}, {"addresses": ["10.0.0.9"]}], "ports": None},
        _endpoint_slice("injector-d", port="x"),
    )
    asked: list[tuple[str, dict[str, str]]] = []

    def handle(path: str, query: dict[str, str]) -> Answer:
        asked.append((path, query))
        return _listed(*slices)

    with misbehaving(handle) as client:
        found = Replicas(client, "livery-system", _settings(tmp_path)).find()

    assert found == [Replica("injector-b", "fd00::1", 8444), Replica("injector-c", "fd00::1", 8444)]
    assert asked == [(PATH, {"labelSelector": "kubernetes.io/service-name=livery-injector"})]


def test_what_is_no_endpoint_slice_is_an_error(tmp_path: Path) -> None:
    with misbehaving(lambda path, query: _listed({"endpoints": "x"})) as client:
        replicas = Replicas(client, "livery-system", _settings(tmp_path))
        with pytest.raises(ObjectError, match="endpoints"):
            replicas.find()


@contextlib.asynccontextmanager
async def _other(folder: Path) -> AsyncIterator[Service]:
    """Another replica, which has a proxy's report."""
    tokens = folder / "tokens" / "livery-system"
    tokens.mkdir(parents=True)
    (tokens / "injector-a").write_text("secret")
    (folder / "world").mkdir()
    settings = ServiceSettings(
        names=(NAME,), host="127.0.0.1", admission_port=0, control_port=0, metrics_port=0
    )
    backend = folder_backend(folder / "world", folder / "tokens", folder / "certs")
    service = Service(settings, Platform(), backend)
    service.control.replica_account = "livery-system/default"
    service.control.reports.put(("shop", "web-0"), {"proxyVersion": "7"})
    service.open()
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def _following(folder: Path, other: Service, trust: str) -> AsyncIterator[Proxies]:
    proxies = Proxies(PolicyHub(ClusterState(), Platform()), Reports())
    listed = _listed(_endpoint_slice("injector-b", port=other.ports[1]))
    with misbehaving(lambda path, query: listed) as client:
        replicas = Replicas(client, "livery-system", _settings(folder))
        task = asyncio.create_task(replicas.follow(lambda: trust, proxies))
        try:
            yield proxies
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_what_another_replica_knows_is_known_here_with_a_token_that_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    (tmp_path / "token").write_text("old\n")
    async with _other(tmp_path) as other:
        trust = other.admission.ca_bundle
        async with _following(tmp_path, other, trust) as proxies:
            await until(proxies.problems)
            assert "it answered 401" in proxies.problems()[0]
            (tmp_path / "token").write_text("secret\n")
            await until(lambda: proxies.all())

    report = proxies.all()["shop", "web-0"].report
    assert report is not None
    assert report.proxy_version == "7"
    assert proxies.is_complete


async def test_a_replica_is_believed_only_by_the_own_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    (tmp_path / "token").write_text("secret")
    async with _other(tmp_path) as other:
        (tmp_path / "b").mkdir()
        async with (
            _other(tmp_path / "b") as stranger,
            _following(tmp_path, stranger, other.admission.ca_bundle) as proxies,
        ):
            await until(proxies.problems)

    assert "certificate" in proxies.problems()[0].lower()
    assert proxies.all() == {}


@contextlib.asynccontextmanager
async def _bad_replica(
    folder: Path, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[tuple[int, str]]:
    """A replica with a scripted answer and a certificate of our CA; gives its port and the CA."""
    authority = create_authority("livery", datetime.now(UTC))
    tls = create_server_context(issue_leaf(authority, [NAME], datetime.now(UTC)))

    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.create_task(handle(reader, writer)))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], authority.certificate_pem
        for handler in handlers:
            handler.cancel()
        await asyncio.wait(handlers)


async def _trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def _encoded(writer: asyncio.StreamWriter) -> None:
    body = gzip.compress(b"x" * 1_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _one_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100):
        writer.write(b"x" * 100_000)
        await writer.drain()


async def _no_age(writer: asyncio.StreamWriter) -> None:
    line = b'{"pod": "shop/web-0", "age": NaN, "report": {}}\n'
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line))
    await writer.drain()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (_trickle, "no complete response within 0.3 s"),
        (_encoded, "unrequested content encoding"),
        (_one_line, "too long"),
        (_no_age, "age nan"),
    ],
)
async def test_a_replica_that_misbehaves_is_named_and_stops_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]],
    says: str,
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 1 << 20)
    if answer is _trickle:
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    (tmp_path / "token").write_text("secret")
    proxies = Proxies(PolicyHub(ClusterState(), Platform()), Reports())
    rounds = 0

    async with _bad_replica(tmp_path, answer) as (port, trust):

        def listed(path: str, query: dict[str, str]) -> Answer:
            nonlocal rounds
            rounds += 1
            return _listed(_endpoint_slice("injector-b", port=port))

        with misbehaving(listed) as client:
            replicas = Replicas(client, "livery-system", _settings(tmp_path))
            task = asyncio.create_task(replicas.follow(lambda: trust, proxies))
            await until(proxies.problems)
            await until(lambda: rounds > 3)
            task.cancel()
            await asyncio.wait([task])
            # Its threads end when the requests that they wait for end.
            await asyncio.to_thread(replicas.close)

    assert says in proxies.problems()[0]
    assert not proxies.is_complete


async def test_while_the_replicas_cannot_be_listed_nothing_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    proxies = Proxies(PolicyHub(ClusterState(), Platform()), Reports())
    proxies.expect()
    assert (proxies.is_complete, proxies.problems()) == (False, [])
    with misbehaving(lambda path, query: (403, b'{"message": "no"}')) as client:
        replicas = Replicas(client, "livery-system", _settings(tmp_path))
        task = asyncio.create_task(replicas.follow(lambda: "", proxies))
        await until(proxies.problems)
        assert "cannot list the replicas" in proxies.problems()[0]
        task.cancel()
        await asyncio.wait([task])
        proxies.keep_only(set())

    assert proxies.is_complete

"""Samples that a collector reads from a real Prometheus reach another, as the policy says."""

import asyncio
import ipaddress
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import cramjam
import pytest

from sidecar.errors import RuleError
from sidecar.forward import collector as module
from sidecar.forward.addresses import Reach
from sidecar.forward.collector import Collector, read_vector
from sidecar.forward.queue import Batch
from sidecar.forward.receiver import Receiver
from sidecar.forward.sender import Sender
from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.refusals import Refusal
from sidecar.model.policy.collector import COLLECTOR_KEYS, CollectorPolicy
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.forward import ReceiverAddress
from sidecar.model.policy.keyed import apply_keys
from sidecar.model.remote_write.requests import write_vector
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program, running_prometheus
from tests.sidecar.apps import App, http
from tests.sidecar.forward.names import RESOLVER

pytestmark = pytest.mark.anyio

_FLAGS = ["--web.enable-remote-write-receiver"]
_LOCAL = Reach(is_service=True, allowed=(ipaddress.ip_network("127.0.0.0/8"),))
_SERIES = [
    {"__name__": "orders", "namespace": "shop", "job": "web", "le": "1"},
    {"__name__": "orders", "namespace": "shop", "job": "cron"},
    {"__name__": "orders", "namespace": "bank", "job": "web"},
    {"__name__": "secret", "namespace": "shop", "job": "web"},
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    have(prometheus_program)
    folder = tmp_path_factory.mktemp("platform")
    with running_prometheus("global: {}\n", folder, flags=_FLAGS) as running:
        yield running


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Prometheus]:
    have(prometheus_program)
    with running_prometheus("global: {}\n", tmp_path / "tenant", flags=_FLAGS) as running:
        yield running


def _port(prometheus: Prometheus) -> int:
    return urlsplit(prometheus.url).port or 0


async def _feed(
    source: Prometheus, *moments: float, series: list[dict[str, str]] = _SERIES
) -> None:
    address = ReceiverAddress("127.0.0.1", _port(source), "/api/v1/write")
    sender = Sender(Receiver(address, {}, _LOCAL, resolve=RESOLVER.resolve), 1 << 20)
    for moment in moments:
        stamp = int(moment * 1000)
        values = [(labels, moment + number) for number, labels in enumerate(series)]
        ((body, count),) = write_vector(values, stamp)[0]
        sender.push(Batch(bytes(cramjam.snappy.compress_raw(body)), count, stamp))
    await sender.flush(10)
    assert sender.progress.error == ""


def _rule(port: int, **fields: Any) -> dict[str, Any]:
    access = {"name": "front", "patterns": ["orders"], "namespaces": ["shop"]}
    where = {"host": "127.0.0.1", "port": port, "path": "/api/v1/write", "isService": True}
    return {"access": access, "intervalSeconds": 5, "receivers": [where], **fields}


def _policy(*rules: dict[str, Any], namespace: str = "shop") -> CollectorPolicy:
    keys: dict[str, object] = {
        "platform": {"schema": 1, "allowedRanges": ["127.0.0.0/8"]},
        f"assignment/{namespace}": {},
        **{f"sending/{namespace}/{rule['access']['name']}": rule for rule in rules},
    }
    return apply_keys(COLLECTOR_KEYS, None, {}, keys, reader=DocumentReader(Origin.STREAM)).policy


@asynccontextmanager
async def _collecting(url: str, policy: CollectorPolicy) -> AsyncIterator[Collector]:
    group = BackendGroup(BackendSettings(), 5)
    group.use([url])
    made = Collector(group, environ={})
    made.use(policy)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await made.flush(5)
        group.close()


def _range(prometheus: Prometheus, query: str) -> list[Any]:
    return list(json.loads(prometheus.get(f"/api/v1/query?query={quote(query)}"))["data"]["result"])


async def _arrived(prometheus: Prometheus, query: str, seconds: float = 20.0) -> list[Any]:
    deadline = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(_range, prometheus, query)):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(module, "SPREAD_SECONDS", 0.1)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)


async def test_series_of_the_namespace_arrive_at_moments_of_the_interval(
    source: Prometheus, receiver: Prometheus
) -> None:
    now = time.time()
    await _feed(source, now - 30, now - 20, now - 10)
    extra = {"extraLabels": {"tenant": "shop", "job": "extra"}, "honorLabels": True}
    async with _collecting(source.url, _policy(_rule(_port(receiver), **extra))) as collector:
        found = await _arrived(receiver, "orders[5m]")
        (state,) = collector.state()

    labels = [item["metric"] for item in found]
    assert sorted(labels, key=str) == sorted(
        [
            {"__name__": "orders", "namespace": "shop", "job": "web", "le": "1", "tenant": "shop"},
            {"__name__": "orders", "namespace": "shop", "job": "cron", "tenant": "shop"},
        ],
        key=str,
    )
    for item in found:
        assert all(moment % 5 == 0 for moment, _ in item["values"])
    assert (state.namespace, state.rule, state.series, state.error) == ("shop", "front", 2, "")
    assert await asyncio.to_thread(_range, receiver, '{__name__="secret"}') == []


async def test_two_collectors_that_overlap_write_the_same_samples(
    source: Prometheus, receiver: Prometheus
) -> None:
    await _feed(source, time.time() - 5)
    policy = _policy(_rule(_port(receiver)))
    async with _collecting(source.url, policy) as first, _collecting(source.url, policy) as second:
        await asyncio.sleep(8)
        states = [*first.state(), *second.state()]
    (web, cron) = await asyncio.to_thread(_range, receiver, "orders[1m]")

    assert [state.failed for state in states] == [0, 0]
    for item in (web, cron):
        moments = [moment for moment, _ in item["values"]]
        assert len(moments) == len(set(moments)) >= 2
        assert all(after - before == 5 for before, after in pairwise(moments))


async def test_who_takes_over_leaves_no_gap_and_counts_no_loss(
    source: Prometheus, receiver: Prometheus
) -> None:
    now = time.time()
    await _feed(source, *(now - seconds for seconds in range(60, 0, -10)))
    policy = _policy(_rule(_port(receiver)))
    async with _collecting(source.url, policy):
        await _arrived(receiver, "orders")
    await asyncio.sleep(11)  # two collections are missed
    async with _collecting(source.url, policy) as second:
        await asyncio.sleep(4)
        (state,) = second.state()
    (web, _) = await asyncio.to_thread(_range, receiver, "orders[1m]")
    moments = [moment for moment, _ in web["values"]]

    assert moments[-1] > now + 10
    assert all(after - before == 5 for before, after in pairwise(moments))
    assert (state.failed, state.dropped, state.error) == (0, 0, "")


async def test_moments_that_were_missed_are_asked_for_later(
    source: Prometheus, receiver: Prometheus, tmp_path: Path
) -> None:
    busy = [http(b"busy", status="503 Service Unavailable")]
    await _feed(source, time.time() - 12)

    async def answer(writer: asyncio.StreamWriter) -> None:
        form = (await app.read_body(writer)).decode()
        if busy:
            writer.write(busy[0])
            return
        said = await asyncio.to_thread(source.get, f"/api/v1/query?{form}")
        writer.write(http(said, "application/json"))

    app = App(answer)
    async with app:
        url = f"http://127.0.0.1:{app.port}"
        async with _collecting(url, _policy(_rule(_port(receiver)))) as collector:
            await asyncio.sleep(11)
            errors = [state.error for state in collector.state()]
            busy.clear()
            await asyncio.sleep(2)
            (state,) = collector.state()
    (web, _) = await asyncio.to_thread(_range, receiver, "orders[1m]")
    moments = [moment for moment, _ in web["values"]]

    assert errors == ["Prometheus is not ready yet"]
    assert state.error == ""
    assert len(moments) >= 3
    assert all(after - before == 5 for before, after in pairwise(moments))


async def test_series_that_are_gone_have_ended(source: Prometheus, receiver: Prometheus) -> None:
    gone = [{"__name__": "orders", "namespace": "shop", "job": "short"}]
    await _feed(source, time.time() - 1, series=gone)
    policy = _policy(_rule(_port(receiver)))
    async with _collecting(source.url, policy) as collector:
        assert await _arrived(receiver, 'orders{job="short"}')
        collector.use(_policy(_rule(_port(receiver), access={
            "name": "front", "patterns": ["other"], "namespaces": ["shop"],
        })))  # fmt: skip
        deadline = time.monotonic() + 20
        while await asyncio.to_thread(_range, receiver, 'orders{job="short"}'):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


async def test_nothing_is_asked_while_the_rules_cannot_be_trusted(source: Prometheus) -> None:
    group = BackendGroup(BackendSettings(), 5)
    group.use([source.url])
    made = Collector(group, lambda: "the rules may be out of date", environ={})
    made.use(_policy(_rule(1)))
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0.5)
    (state,) = made.state()
    running.cancel()
    await made.flush(0.1)
    group.close()

    assert (state.error, state.series) == ("the rules may be out of date", 0)


async def test_values_are_pushed_in_groups(source: Prometheus) -> None:
    await _feed(source, time.time() - 1)
    bodies: list[str] = []

    async def answer(writer: asyncio.StreamWriter) -> None:
        length = int(app.requests[-1].lower().partition("content-length: ")[2].split("\r\n")[0])
        bodies.append((await app.readers[writer].readexactly(length)).decode())
        writer.write(http(b""))

    app = App(answer)
    async with app:
        push = {"kind": "push", "host": "127.0.0.1", "port": app.port, "path": ""}
        policy = _policy(_rule(0, receivers=[push]))
        async with _collecting(source.url, policy):
            deadline = time.monotonic() + 15
            while len(bodies) < 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.1)

    assert {head.split(" ")[1] for head in app.requests} >= {
        "/metrics/job/web",
        "/metrics/job/cron",
    }
    assert any(body.startswith('orders{le="1",namespace="shop"} ') for body in bodies)


async def test_a_clock_that_is_set_back_is_followed() -> None:
    (rule,) = _made(_policy(_rule(1)))
    rule.done_ms = 2_000_000_000_000

    assert rule.next_moment(1_900_000_003.0) <= 1_900_000_000


async def test_namespaces_share_what_may_wait_whatever_they_ask_for() -> None:
    keys: dict[str, object] = {
        "platform": {"schema": 1}, "assignment/shop": {}, "assignment/bank": {},
    }  # fmt: skip
    for number in range(30):
        rule = _rule(1)
        rule["access"]["name"] = f"r{number}"
        keys[f"sending/shop/r{number}"] = rule
    keys["sending/bank/front"] = {
        **_rule(1), "access": {"name": "front", "patterns": ["a"], "namespaces": ["bank"]},
    }  # fmt: skip
    policy = apply_keys(COLLECTOR_KEYS, None, {}, keys, reader=DocumentReader(Origin.STREAM)).policy
    limits = {rule.name: rule.outlet._writes[0]._queue.limit_bytes for rule in _made(policy)}

    assert limits["bank/front"] == module.QUEUE_BYTES
    assert limits["shop/r0"] == module.ALL_QUEUES_BYTES // 2 // 30


def _made(policy: CollectorPolicy) -> list[Any]:
    collector = Collector(BackendGroup(BackendSettings(), 5), environ={})
    collector.use(policy)
    return list(collector._rules.values())


def test_what_is_no_vector_is_left_out() -> None:
    result = [
        {"metric": {"a": "1"}, "value": [1, "2.5"]},
        {"metric": {"a": "2"}, "histogram": [1, {}]},
        {"metric": [], "value": [1, "2"]},
        {"metric": {}, "value": [1, "x"]},
        7,
    ]
    body = json.dumps({"status": "success", "data": {"result": result}}).encode()

    assert read_vector(body) == [({"a": "1"}, 2.5)]
    assert read_vector(b'{"data": 5}') == []
    with pytest.raises(Refusal):
        read_vector(b"<html>")


def test_what_relabeling_takes_at_one_moment_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RELABELINGS", 10)
    relabeling = {"regex": "a", "action": "labeldrop"}
    access = {**_rule(1)["access"], "metricRelabelings": [relabeling] * 2}
    collector = Collector(BackendGroup(BackendSettings(), 5), environ={})
    collector.use(_policy(_rule(1, access=access)))
    ((_, rule),) = collector._rules.items()
    series: list[module.Series] = [
        ({"__name__": "orders", "namespace": "shop", "n": str(n)}, 1.0) for n in range(6)
    ]
    rule.take(series[:5], 10)

    with pytest.raises(RuleError, match=r"metricRelabelings: 12 uses on its 6 series; 10 are"):
        rule.take(series, 10)

"""A pod's proxy that sends its application's samples to a real Prometheus."""

import asyncio
import ipaddress
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from sidecar.forward.pod import INLINE_SERIES, PodForwarder
from sidecar.forward.pod_rule import PodRule
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.formats import Format
from sidecar.model.policy.forward import Forwarding
from sidecar.model.remote_write.selection import PlanBudget
from sidecar.scrape.rendering import Collected
from tests.real_parts.presence import have
from tests.real_parts.prometheus import Prometheus, prometheus_program, running_prometheus
from tests.sidecar.apps import App, http
from tests.sidecar.forward.test_pod_rule import Rule
from tests.sidecar.processes import Proxy, running_proxy

pytestmark = pytest.mark.anyio

_ANYWHERE = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    have(prometheus_program)
    folder: Path = tmp_path_factory.mktemp("receiver")
    flags = ["--web.enable-remote-write-receiver"]
    with running_prometheus("global: {}\n", folder, flags=flags) as running:
        yield running


def _policy(receiver: Prometheus, *patterns: str, **rule: Any) -> dict[str, Any]:
    port = urlsplit(receiver.url).port
    where = {"host": "localhost", "port": port, "path": "/api/v1/write", "isService": True}
    access = {"name": "rule", "patterns": list(patterns), "namespaces": ["shop"]}
    one = {"access": access, "intervalSeconds": 5, "receivers": [where], **rule}
    ranges = ["127.0.0.0/8", "::1/128"]
    return {
        "labels": {"team": "web"},
        "forward": {"allowedRanges": ranges, "rules": [one]},
    }


@contextmanager
def _proxy(port: int, policy: dict[str, Any], folder: Path) -> Iterator[Proxy]:
    (folder / "policy").write_text(json.dumps(policy))
    environ = {
        "LIVERY_POD_NAMESPACE": "shop", "LIVERY_POD_NAME": "web-0", "LIVERY_POD_IP": "10.0.0.7",
    }  # fmt: skip
    target = f"web=http://:{port}/metrics"
    arguments = ("--target", target, "--policy", str(folder / "policy"))
    with running_proxy(*arguments, log=folder / "log", environ=environ) as proxy:
        yield proxy


def _series(receiver: Prometheus, query: str, seconds: float = 20.0) -> list[Any]:
    deadline = time.monotonic() + seconds
    while True:
        found = json.loads(receiver.get(f"/api/v1/query?query={quote(query)}"))["data"]["result"]
        if found or time.monotonic() > deadline:
            return list(found)
        time.sleep(0.1)


async def test_what_a_rule_names_arrives_with_the_team_s_labels(
    receiver: Prometheus, tmp_path: Path
) -> None:
    async with App(http(b'# TYPE sent_total counter\nsent_total{code="200"} 7\nother 1\n')) as app:
        policy = _policy(
            receiver, "sent_total", "up", extraLabels={"tenant": "shop"}, honorLabels=False
        )
        with _proxy(app.port, policy, tmp_path):
            found = await asyncio.to_thread(_series, receiver, 'sent_total{tenant="shop"}')
            ups = await asyncio.to_thread(_series, receiver, 'up{tenant="shop"}')
            others = await asyncio.to_thread(_series, receiver, "other", 0.5)

    (series,) = found
    assert series["value"][1] == "7"
    labels = series["metric"]
    assert labels.pop("instance")
    assert labels == {
        "__name__": "sent_total", "code": "200", "team": "web", "tenant": "shop",
        "namespace": "shop", "pod": "web-0", "container": "web",
    } | ({"job": labels["job"]} if "job" in labels else {})  # fmt: skip
    assert [item["value"][1] for item in ups] == ["1"]
    assert others == []


async def test_what_somebody_scrapes_is_sent_without_asking_again(
    receiver: Prometheus, tmp_path: Path
) -> None:
    async with App(http(b"taken 1\n")) as app:
        with _proxy(app.port, _policy(receiver, "taken", intervalSeconds=5), tmp_path) as proxy:
            assert await asyncio.to_thread(_series, receiver, "taken")
            before = len(app.requests)
            url = f"http://127.0.0.1:{proxy.port()}/metrics"
            accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1"
            request = urllib.request.Request(url, headers={"Accept": accept})
            ends = time.monotonic() + 9
            scrapes = 0
            while time.monotonic() < ends:
                await asyncio.to_thread(lambda: urllib.request.urlopen(request).read())
                scrapes += 1
                await asyncio.sleep(1)
            asked = len(app.requests) - before
            counted = await asyncio.to_thread(_series, receiver, "count_over_time(taken[1m])")

    assert asked == scrapes
    assert 2 <= int(counted[0]["value"][1]) <= 4


async def test_what_waits_is_sent_when_the_proxy_is_told_to_end(
    receiver: Prometheus, tmp_path: Path
) -> None:
    async with App(http(b"last 1\n")) as app:
        with _proxy(app.port, _policy(receiver, "last"), tmp_path) as proxy:
            assert await asyncio.to_thread(_series, receiver, "last")
            assert proxy.stop() == 0
    # The staleness markers of all series were queued when the proxy was stopped.
    assert await asyncio.to_thread(_series, receiver, "last", 0.0) == []


class _Broken(PodRule):
    """A rule that fails with an unexpected error."""

    def take(self, collected: Collected, stamp_ms: int, budget: PlanBudget) -> Callable[[], None]:
        raise RuntimeError("nobody foresaw this")


class _Unplanned(PodRule):
    """A rule that fails before it takes anything."""

    def to_plan(self, collected: Collected) -> int:
        raise RuntimeError("nobody foresaw this")


@pytest.mark.parametrize("broken", [_Broken, _Unplanned])
async def test_a_fault_of_forwarding_harms_no_scrape_and_rules_change_after_it(
    broken: type[PodRule],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scrape(wanted: object) -> None:
        raise AssertionError("nobody is to be asked")

    made = Rule("a")
    forwarder = PodForwarder(Identity("shop"), scrape, environ={})
    forwarder._rules = {"r": broken(made.forward_rule, Identity("shop"), made.outlet, {})}
    forwarder.take(made.collected("a 1\n"), made.view.wanted)
    await forwarder.idle()

    assert "a scrape cannot be forwarded" in caplog.text
    assert "internal error: RuntimeError" in forwarder._rules["r"].state().error
    forwarder._rules["r"].tried_at = float("-inf")
    forwarder.take(made.collected("a 1\n"), made.view.wanted)
    forwarder.use(None)
    assert list(forwarder._rules) == ["r"]
    await forwarder.idle()
    assert list(forwarder._rules) == []


async def _nobody(wanted: object) -> None:
    raise AssertionError("nobody is to be asked")


async def test_who_scrapes_does_not_wait_and_another_scrape_is_not_taken_meanwhile() -> None:
    made = Rule("a")
    forwarder = PodForwarder(Identity("shop"), _nobody, environ={})
    forwarder._rules = {"r": made.rule}
    body = "".join(f'a{{n="{number}"}} 1\n' for number in range(2 * INLINE_SERIES))
    forwarder.take(made.collected(body), made.view.wanted)
    made.rule.tried_at = float("-inf")
    forwarder.take(made.collected(body), made.view.wanted)
    assert made.names() == []
    await forwarder.idle()

    assert sum(map(len, made.names())) == 2 * INLINE_SERIES


@pytest.mark.parametrize("broken", ["", "x"])
async def test_each_rule_has_its_turn_though_there_is_not_time_for_all(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.forward.pod.MAX_PLANNED_SERIES", 5)
    rules = {name: Rule("a") for name in "xyz"}
    forwarder = PodForwarder(Identity("shop"), _nobody, environ={})
    forwarder._rules = {name: made.rule for name, made in rules.items()}
    if broken:
        made = rules[broken]
        forwarder._rules[broken] = _Broken(made.forward_rule, Identity("shop"), made.outlet, {})
    for number in range(3):  # a new series each time, so that each rule evaluates the body
        body = "".join(f'a{{n="{number + at}"}} 1\n' for at in range(4))
        forwarder.take(rules["y"].collected(body), rules["y"].view.wanted)
        await forwarder.idle()
        for rule in forwarder._rules.values():
            rule.tried_at = float("-inf")

    counts = {name: len(made.names()) for name, made in rules.items()}
    assert counts == dict.fromkeys("xyz", 1) | dict.fromkeys(broken, 0)


async def test_receivers_that_come_while_the_targets_are_asked_are_sent_to_at_once() -> None:
    made = Rule("a")

    async def scrape(wanted: object) -> None:
        forwarder.use(Forwarding((made.forward_rule,)))

    forwarder = PodForwarder(Identity("shop"), scrape, environ={})
    forwarder.use(Forwarding((made.forward_rule,), _ANYWHERE))
    running = asyncio.create_task(forwarder.run())
    await asyncio.sleep(0.2)
    (rule,) = forwarder._rules.values()

    assert rule.outlet._tasks
    running.cancel()


async def test_who_asks_once_from_outside_does_not_choose_the_format_for_ever() -> None:
    made = Rule("a")
    other = made.view.wanted._replace(fmt=Format.OPENMETRICS)
    forwarder = PodForwarder(Identity("shop"), _nobody, environ={})
    forwarder._rules = {"r": made.rule}
    forwarder.take(made.collected("a 1\n"), other)
    await forwarder.idle()
    made.rule.tried_at = float("-inf")
    forwarder.take(made.collected("a 1\n"), made.view.wanted)  # another format: ignored
    await forwarder.idle()
    assert len(made.names()) == 1

    async def scrape(wanted: object) -> None:
        forwarder.take(made.collected("a 1\n"), other)

    forwarder._scrape = scrape
    await forwarder._ask()
    made.rule.tried_at = float("-inf")
    forwarder.take(made.collected("a 1\n"), made.view.wanted)
    await forwarder.idle()
    assert len(made.names()) == 3


async def test_a_clock_that_was_far_ahead_is_followed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    forwarder = PodForwarder(Identity("shop"), _nobody, environ={})
    monkeypatch.setattr("time.time", lambda: 2_000.0)
    first = forwarder._next_stamp()
    monkeypatch.setattr("time.time", lambda: 1_995.0)
    second = forwarder._next_stamp()
    monkeypatch.setattr("time.time", lambda: 1_000.0)

    assert (first, second, forwarder._next_stamp()) == (2_000_000, 2_000_001, 1_000_000)

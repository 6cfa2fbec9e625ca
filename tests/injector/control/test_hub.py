"""The hub: each proxy receives the changes that concern it, and no others."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from injector.control import hub as hub_module
from injector.control.hub import MAX_BEHIND, PolicyHub, Stream
from injector.control.snapshots import Snapshot, build_snapshot
from injector.model.cluster.state import ClusterState
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform

SHOP, BANK = Scope("pod", "shop"), Scope("pod", "bank")
EXPORTER = Scope("pod", "monitoring", knows_all_labels=True)


@pytest.fixture(autouse=True)
def short_debounce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "DEBOUNCE_SECONDS", 0.01)


def label(cluster: ClusterState, namespace: str, **labels: str) -> None:
    cluster.put("Namespace", {"metadata": {"name": namespace, "labels": labels}})


def make() -> tuple[ClusterState, PolicyHub]:
    cluster = ClusterState()
    label(cluster, "shop", team="frontend")
    label(cluster, "bank", team="payments")
    return cluster, PolicyHub(cluster, Platform())


async def next_message(stream: Stream, seconds: float = 1.0) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        async for message in stream.messages(60):
            found: dict[str, Any] = json.loads(message)
            return found
    return {"type": "closed"}


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await body()

    asyncio.run(main())


def test_a_newcomer_gets_the_whole_policy() -> None:
    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            message = await next_message(stream)
        assert message["type"] == "policy"
        assert message["policy"]["labels"] == {"team": "frontend"}

    run(body)


def test_who_has_the_version_is_told_that_it_is_current() -> None:
    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            version = (await next_message(stream))["version"]
        with hub.open(SHOP, version) as stream:
            assert await next_message(stream) == {"type": "current", "version": version}

    run(body)


def test_equal_worlds_give_equal_versions_on_every_replica() -> None:
    async def body() -> None:
        versions = set()
        for _ in range(2):
            _, hub = make()
            with hub.open(SHOP, "") as stream:
                versions.add((await next_message(stream))["version"])
        assert len(versions) == 1

    run(body)


def test_a_change_reaches_its_namespace_and_no_other() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(SHOP, "") as shop, hub.open(BANK, "") as bank:
            await next_message(shop)
            await next_message(bank)
            label(cluster, "shop", team="backend")
            assert (await next_message(shop))["policy"]["labels"] == {"team": "backend"}
            with pytest.raises(TimeoutError):
                await next_message(bank, 0.1)

    run(body)


def test_a_change_that_changes_nothing_for_proxies_is_not_sent() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(SHOP, "") as stream:
            await next_message(stream)
            label(cluster, "shop", team="frontend", **{"kubernetes.io/metadata.name": "shop"})
            with pytest.raises(TimeoutError):
                await next_message(stream, 0.1)

    run(body)


def test_many_changes_at_once_become_one_message() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(SHOP, "") as stream:
            await next_message(stream)
            for number in range(50):
                label(cluster, "shop", team=f"t{number}")
            assert (await next_message(stream))["policy"]["labels"] == {"team": "t49"}
            with pytest.raises(TimeoutError):
                await next_message(stream, 0.1)

    run(body)


def test_a_newcomer_during_the_debounce_hides_no_change_from_others() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(SHOP, "") as first:
            await next_message(first)
            label(cluster, "shop", team="backend")
            with hub.open(SHOP, "") as second:
                assert (await next_message(second))["policy"]["labels"] == {"team": "backend"}
                assert (await next_message(first))["policy"]["labels"] == {"team": "backend"}

    run(body)


def test_a_change_while_nobody_listened_is_in_the_snapshot() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(SHOP, "") as stream:
            version = (await next_message(stream))["version"]
        label(cluster, "shop", team="backend")
        with hub.open(SHOP, version) as stream:
            assert (await next_message(stream))["policy"]["labels"] == {"team": "backend"}

    run(body)


def test_an_exporter_hears_of_every_namespace() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(EXPORTER, "") as stream:
            await next_message(stream)
            label(cluster, "bank", team="treasury")
            message = await next_message(stream)
        assert message["policy"]["namespaces"]["bank"] == {"team": "treasury"}
        assert message["policy"]["namespaces"]["shop"] == {"team": "frontend"}

    run(body)


def test_a_reader_far_behind_is_closed_and_holds_nothing() -> None:
    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            for _ in range(MAX_BEHIND + 1):
                stream.push(b"x\n")
            assert stream.is_closed
            assert (await next_message(stream))["type"] == "closed"
        assert hub.count == 0

    run(body)


def test_silence_is_broken_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "PING_SECONDS", 0.02)

    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            await next_message(stream)
            assert await next_message(stream) == {"type": "ping"}

    run(body)


def test_a_stream_ends_with_its_lifetime() -> None:
    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            async with asyncio.timeout(5):
                kinds = [json.loads(message)["type"] async for message in stream.messages(0.05)]
        assert kinds == ["policy"]

    run(body)


def test_new_authorities_reach_open_and_new_streams() -> None:
    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            await next_message(stream)
            hub.publish_ca_bundle("PEM")
            assert await next_message(stream) == {"type": "authorities", "pem": "PEM"}
        with hub.open(SHOP, "") as stream:
            assert (await next_message(stream))["type"] == "authorities"

    run(body)


def test_a_stopping_process_ends_every_stream() -> None:
    async def body() -> None:
        _, hub = make()
        with hub.open(SHOP, "") as stream:
            hub.close_all()
            assert (await next_message(stream))["type"] == "closed"

    run(body)


def test_listeners_hear_when_proxies_were_told_and_find_the_new_version() -> None:
    async def body() -> None:
        cluster, hub = make()
        heard: list[str] = []
        hub.listeners.append(lambda: heard.append(hub.published_versions()["shop", "web"]))
        with hub.open(SHOP, "", ("shop", "web")) as stream:
            before = (await next_message(stream))["version"]
            label(cluster, "shop", team="backend")
            after = (await next_message(stream))["version"]
        assert before != after
        assert heard == [after]

    run(body)


def test_of_a_pods_too_many_streams_the_oldest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_STREAMS_PER_POD", 2)
    _, hub = make()
    with (
        hub.open(SHOP, "", ("shop", "web")) as first,
        hub.open(SHOP, "", ("shop", "web")) as second,
        hub.open(SHOP, "", ("shop", "other")) as other,
        hub.open(SHOP, "", ("shop", "web")) as third,
    ):
        assert [item.is_closed for item in (first, second, other, third)] == [
            True, False, False, False,
        ]  # fmt: skip
    assert hub.count == 0


def test_a_pod_has_three_streams_at_most() -> None:
    assert hub_module.MAX_STREAMS_PER_POD == 3


def test_a_proxy_that_comes_back_at_once_costs_no_new_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[Scope] = []

    def counted(cluster: ClusterState, scope: Scope, platform: Platform) -> Snapshot:
        built.append(scope)
        return build_snapshot(cluster, scope, platform)

    monkeypatch.setattr(hub_module, "build_snapshot", counted)

    async def body() -> None:
        cluster, hub = make()
        for _ in range(3):
            with hub.open(SHOP, ""):
                pass
        assert built == [SHOP]

        label(cluster, "bank", team="other")
        hub.flush()
        with hub.open(SHOP, ""):
            pass
        assert built == [SHOP]

    run(body)


def test_a_policy_without_streams_is_not_kept_beyond_a_change() -> None:
    async def body() -> None:
        cluster, hub = make()
        with hub.open(SHOP, ""):
            pass
        label(cluster, "shop", team="backend")
        await asyncio.sleep(0.05)
        with hub.open(SHOP, "") as stream:
            assert (await next_message(stream))["policy"]["labels"] == {"team": "backend"}

    run(body)


def test_policies_without_streams_are_kept_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "MAX_IDLE_BYTES", 0)
    _, hub = make()
    with hub.open(SHOP, "", ("shop", "web")):
        assert hub.published_versions()
    with hub.open(SHOP, ""), hub.open(BANK, ""):
        assert hub.count == 2

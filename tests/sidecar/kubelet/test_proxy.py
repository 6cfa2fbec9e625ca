import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from sidecar.errors import LiveryError
from sidecar.http.messages import Request, Response, gather
from sidecar.kubelet.client import KubeletSettings
from sidecar.kubelet.proxy import KubeletProxy, TextSettings
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.encoding import EncodedPolicy
from sidecar.process.metrics import Telemetry
from sidecar.roles.node.metrics import METRICS
from tests.sidecar.apps import Answer, App, http, until

pytestmark = pytest.mark.anyio

_BODY = b'a{namespace="shop"} 1\na{namespace="bank"} 2\n'
_LABELLED = b'a{namespace="shop",team="x"} 1\na{namespace="bank"} 2\n'
_POLICY = SeriesPolicy(namespaces={"shop": {"team": "x"}})


class _Proxied(NamedTuple):
    """A proxy, its kubelet, and the callbacks that it made."""

    app: App
    proxy: KubeletProxy
    telemetry: Telemetry
    said: list[str]

    async def scrape(self, endpoint: str = "/metrics", query: str = "", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.proxy.scrape(endpoint, Request("GET", endpoint, query, named))

    async def read(self, endpoint: str = "/metrics", **headers: str) -> bytes:
        response = await self.scrape(endpoint, **headers)
        assert (response.status, response.parts is not None) == (200, True), response.body
        return await gather(response.parts) if response.parts is not None else b""


@contextlib.asynccontextmanager
async def _proxied(answer: Answer, *, slots: int = 4) -> AsyncIterator[_Proxied]:
    said: list[str] = []
    telemetry = Telemetry(METRICS)
    async with App(answer) as app:
        proxy = KubeletProxy(
            KubeletSettings(f"http://127.0.0.1:{app.port}"), TextSettings(), telemetry,
            on_change=lambda: said.append("change"), on_scraped=lambda: said.append("scraped"),
            scrape_slots=asyncio.Semaphore(slots),
        )  # fmt: skip
        proxy.apply(EncodedPolicy(_POLICY), {}, None)
        try:
            yield _Proxied(app, proxy, telemetry, said)
        finally:
            proxy.close()


async def _stall(writer: asyncio.StreamWriter) -> None:
    """Start a response and do not finish it."""
    writer.write(http(_BODY * 9)[:-9])
    await writer.drain()


async def test_each_series_gets_the_labels_of_its_namespace() -> None:
    async with _proxied(http(_BODY)) as proxied:
        assert await proxied.read() == _LABELLED
        assert [(one.error, one.samples) for one in proxied.proxy.states()] == [("", 2)]
        assert b'livery_node_samples{endpoint="/metrics"} 2\n' in proxied.telemetry.render()


async def test_a_query_is_passed_on() -> None:
    async with _proxied(http(_BODY)) as proxied:
        response = await proxied.scrape("/metrics/probes", "a=b&c")

        assert response.status == 200
        assert proxied.app.requests[0].startswith("GET /metrics/probes?a=b&c HTTP/1.1\r\n")


async def test_a_compressed_answer_holds_the_same() -> None:
    async with _proxied(http(_BODY)) as proxied:
        zipped = await proxied.read(accept_encoding="gzip")

        assert gzip.decompress(zipped) == _LABELLED


@pytest.mark.parametrize("body", [b"", b"# HELP a b\n"])
async def test_a_kubelet_without_series_is_a_whole_answer(body: bytes) -> None:
    async with _proxied(http(body)) as proxied:
        assert await proxied.read() == body
        assert proxied.said[-1] == "scraped"
        assert proxied.proxy.running == {"/metrics": 0}


async def test_an_error_before_the_body_is_a_status_and_is_told_once() -> None:
    async with _proxied(http(b"", status="500 Oh")) as proxied:
        for _ in range(2):
            response = await proxied.scrape()
            assert (response.status, response.body) == (502, b"the kubelet answered 500\n")
        proxied.app.answer = http(_BODY)
        await proxied.read()

        assert proxied.said == ["change", "change", "scraped"]
        assert proxied.proxy.running == {"/metrics": 0}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(_BODY * 9_000 + b"a line that is none\nb 1\n"), "a line that is none"),
        (
            http(_BODY * 9_000, headers={"Content-Length": "999999"}),
            "not complete within the scrape",
        ),
    ],
)
async def test_an_error_within_the_body_breaks_the_answer_off(answer: bytes, reason: str) -> None:
    soon = {"x_prometheus_scrape_timeout_seconds": "0.5"}
    async with _proxied(answer) as proxied:
        with pytest.raises(LiveryError, match=reason):
            await proxied.read(**soon)

        (state,) = proxied.proxy.states()
        assert reason in state.error
        broken = b'livery_node_broken_scrapes_total{endpoint="/metrics"} 1\n'
        assert broken in proxied.telemetry.render()
        assert proxied.proxy.running == {"/metrics": 0}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_client_that_goes_away_gives_its_place_and_connection_back(encoding: str) -> None:
    async with _proxied(_stall, slots=1) as proxied:
        response = await proxied.scrape(accept_encoding=encoding)
        assert response.parts is not None
        await anext(response.parts)
        await response.parts.aclose()

        assert proxied.proxy.running == {"/metrics": 0}
        await until(lambda: not proxied.app.readers)
        proxied.app.answer = http(_BODY)
        assert await proxied.read() == _LABELLED


async def test_an_answer_that_nobody_begins_to_read_gives_its_place_back() -> None:
    async with _proxied(_stall, slots=1) as proxied:
        response = await proxied.scrape()
        assert proxied.proxy.running == {"/metrics": 1}
        del response

        await until(lambda: proxied.proxy.running == {"/metrics": 0})


async def test_too_many_scrapes_of_one_endpoint_are_refused_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.kubelet.proxy.MAX_WAITING", 1)
    async with _proxied(_stall) as proxied:
        first = await proxied.scrape("/metrics")
        proxied.app.answer = http(_BODY)

        assert (await proxied.scrape("/metrics")).status == 503
        assert await proxied.read("/metrics/cadvisor") == _LABELLED
        assert first.parts is not None
        await first.parts.aclose()


async def test_a_scrape_that_finds_no_place_in_its_time_is_late() -> None:
    async with _proxied(_stall, slots=1) as proxied:
        first = await proxied.scrape("/metrics")
        late = await proxied.scrape("/metrics/slis", x_prometheus_scrape_timeout_seconds="0.1")

        assert (late.status, late.body) == (504, b"no scrape slot became free in time\n")
        assert first.parts is not None
        assert proxied.proxy.running == {"/metrics": 1, "/metrics/slis": 0}
        assert len(proxied.app.requests) == 1


@pytest.mark.parametrize("changed", [frozenset({"shop", "bank"}), None])
async def test_a_policy_is_followed_from_the_next_scrape_on(changed: frozenset[str] | None) -> None:
    new = SeriesPolicy(namespaces={"bank": {"team": "y"}})
    async with _proxied(http(_BODY)) as proxied:
        await proxied.read()
        proxied.proxy.apply(EncodedPolicy(new), {}, changed)

        assert await proxied.read() == b'a{namespace="shop"} 1\na{namespace="bank",team="y"} 2\n'


async def test_more_changed_namespaces_than_are_looked_for_are_all_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.kubelet.proxy.MAX_CHANGED", 1)
    encoded = EncodedPolicy(SeriesPolicy(namespaces={"shop": {"team": "z"}}))
    async with _proxied(http(_BODY)) as proxied:
        await proxied.read()
        proxied.proxy.apply(encoded, {}, {"other"})
        proxied.proxy.apply(encoded, {}, {"shop"})

        assert await proxied.read() == _LABELLED.replace(b'"x"', b'"z"')


async def test_rules_of_an_endpoint_concern_no_other() -> None:
    rules = parse_rules([{"sourceLabels": ["namespace"], "regex": "bank", "action": "drop"}], "")
    async with _proxied(http(_BODY)) as proxied:
        proxied.proxy.apply(EncodedPolicy(_POLICY), {"/metrics/slis": rules}, None)

        assert await proxied.read("/metrics/slis") == _LABELLED[: _LABELLED.index(b"\n") + 1]
        assert await proxied.read("/metrics") == _LABELLED


async def test_of_too_many_kinds_of_clients_the_oldest_is_cached_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.kubelet.proxy.MAX_VARIANTS", 1)
    async with _proxied(http(_BODY)) as proxied:
        sizes = set()
        for escaping in ("underscores", "values", "underscores"):
            kind = f"text/plain;version=0.0.4;escaping={escaping}"
            assert await proxied.read(accept=kind) == _LABELLED
            sizes.add(proxied.proxy.cached_bytes)
        assert (len(sizes), 0 in sizes) == (1, False)


async def test_what_is_forgotten_is_made_again() -> None:
    async with _proxied(http(_BODY)) as proxied:
        await proxied.read()
        assert proxied.proxy.cached_bytes > 0
        proxied.proxy.forget()

        assert proxied.proxy.cached_bytes == 0
        assert await proxied.read() == _LABELLED

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.gateway.metadata import VisibleMetadata
from sidecar.gateway.refusals import JSON, Refusal
from sidecar.gateway.tenants import Views
from sidecar.http.messages import Response
from sidecar.model.access.rules import parse_access_rules
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program, running_prometheus
from tests.sidecar.apps import App, http, until

pytestmark = pytest.mark.anyio


def _said(metric: str, kind: str, text: str, **target: str) -> dict[str, object]:
    labels = {"namespace": "shop", "instance": "a:1", **target}
    return {"target": labels, "metric": metric, "type": kind, "help": text, "unit": ""}


_SAID = [
    _said("up", "gauge", "mine"),
    _said("up", "gauge", "mine", instance="b:1"),
    _said("up", "gauge", "another text"),
    _said("up", "gauge", "foreign", namespace="bank"),
    _said("took_seconds", "histogram", "Time."),
    _said("secret", "counter", "x"),
]
_NAMES = ["up", "other", *(f"took_seconds{end}" for end in ("_bucket", "_count", "_sum"))]


def _views(namespace: str) -> Views:
    rule = {"patterns": ["{}"], "namespaces": [namespace]}
    return Views({"shop": parse_access_rules([rule], "rules")})


_VIEWS = _views("shop")


def _data(data: object) -> bytes:
    return http(json.dumps({"status": "success", "data": data}).encode(), JSON)


def _app() -> App:
    app = App(b"")
    app.answers["/api/v1/targets/metadata"] = _data(_SAID)
    app.answers["/api/v1/label/__name__/values"] = _data(_NAMES)
    return app


@asynccontextmanager
async def _metadata(app: App) -> AsyncIterator[VisibleMetadata]:
    group = BackendGroup(BackendSettings(), 5)
    group.use([f"http://127.0.0.1:{app.port}"])
    yield VisibleMetadata(group)
    group.close()


async def _metrics(app: App, views: Views = _VIEWS, **parameters: list[str]) -> Any:
    async with _metadata(app) as metadata:
        return _read(await metadata.of_metrics(parameters, views.of(("shop",))))


async def _targets(app: App, **parameters: list[str]) -> Any:
    async with _metadata(app) as metadata:
        return _read(await metadata.of_targets(parameters, _VIEWS.of(("shop",))))


def _read(answer: Response) -> Any:
    return json.loads(answer.body)["data"]


async def test_metrics_that_the_tenant_has_series_of_are_shown_once() -> None:
    mine = {"type": "gauge", "unit": "", "help": "mine"}
    other = {"type": "gauge", "unit": "", "help": "another text"}
    async with _app() as app:
        shown = await _metrics(app)
        assert list(shown) == ["up", "took_seconds"]
        assert shown["up"] == [mine, other]
        assert list(await _metrics(app, limit=["1"])) == ["up"]
        assert (await _metrics(app, limit_per_metric=["1"]))["up"] == [mine]
        assert (await _metrics(app, limit_per_metric=["0"]))["up"] == [mine, other]

    assert "match%5B%5D=%7Bnamespace%3D~%22shop%22%7D" in app.requests[0]
    assert "limit=20000&match_target=%7Bnamespace%3D~%22shop%22%7D" in app.requests[1]


async def test_one_metric_is_asked_for_alone() -> None:
    async with _app() as app:
        await _metrics(app, metric=["up"])

    assert "metric=up" in app.requests[1]


async def test_targets_are_shown_with_their_labels() -> None:
    async with _app() as app:
        shown = await _targets(app)
        assert [item["metric"] for item in shown] == ["up", "up", "up", "took_seconds"]
        assert shown[1]["target"] == {"namespace": "shop", "instance": "b:1"}
        assert len(await _targets(app, limit=["2"])) == 2
        assert "metric" not in (await _targets(app, metric=["up"]))[0]
        await _targets(app, match_target=['{job="web"}'])

    assert "%7Bjob%3D%22web%22%2Cnamespace%3D~%22shop%22%7D" in app.requests[-1]


async def test_what_is_known_is_not_asked_for_again_for_a_while() -> None:
    async with _app() as app, _metadata(app) as metadata:
        for _ in range(2):
            await metadata.of_metrics({}, _VIEWS.of(("shop",)))
        await metadata.of_metrics({}, _views("shop").of(("shop",)))
        assert len(app.requests) == 2

        await metadata.of_metrics({}, _views("bank").of(("shop",)))
        assert len(app.requests) == 4


async def test_a_tenant_without_rules_is_shown_nothing_and_nobody_is_asked() -> None:
    async with _app() as app:
        assert await _metrics(app, Views({})) == {}

    assert app.requests == []


async def test_a_backend_without_targets_shows_nothing() -> None:
    async with _app() as app:
        app.answers["/api/v1/targets/metadata"] = http(
            b"404 page not found", "text/plain", "404 Not Found"
        )
        assert await _metrics(app) == {}


async def test_a_limit_is_a_number() -> None:
    async with _app() as app:
        with pytest.raises(Refusal, match="limit='x' is not a number"):
            await _metrics(app, limit=["x"])
        with pytest.raises(Refusal, match="limit_per_metric='x' is not a number"):
            await _metrics(app, limit_per_metric=["x"])


async def test_a_selector_of_targets_is_one() -> None:
    async with _app() as app:
        with pytest.raises(Refusal, match='invalid parameter "match_target": 1:2'):
            await _targets(app, match_target=["{"])


async def test_a_real_prometheus_says_whose_a_text_is(tmp_path: Path) -> None:
    config = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
- job_name: mine
  static_configs: [{targets: ["127.0.0.1:%d"], labels: {namespace: shop}}]
- job_name: foreign
  static_configs: [{targets: ["127.0.0.1:%d"], labels: {namespace: bank}}]
"""
    mine, foreign = (
        App(http(b"# HELP a_total %b\n# TYPE a_total counter\na_total 1\n%b 1\n" % (text, text)))
        for text in (b"mine", b"foreign")
    )
    program = have(prometheus_program)
    async with mine, foreign:
        running = running_prometheus(config % (mine.port, foreign.port), tmp_path, program)
        with running as prometheus:
            group = BackendGroup(BackendSettings(), 5)
            group.use([prometheus.url])
            await until(lambda: len(prometheus.query("a_total")) == 2)
            sight = _VIEWS.of(("shop",))
            metrics = _read(await VisibleMetadata(group).of_metrics({}, sight))
            (target,) = _read(
                await VisibleMetadata(group).of_targets({"metric": ["a_total"]}, sight)
            )
            group.close()

    described = {"type": "counter", "help": "mine", "unit": ""}
    assert metrics == {"a_total": [described]}
    assert target == described | {
        "target": {"namespace": "shop", "job": "mine", "instance": f"127.0.0.1:{mine.port}"}
    }

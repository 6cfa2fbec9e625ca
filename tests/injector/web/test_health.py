"""Health, readiness and metrics of the injector."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from injector.web.health import build_health_app
from injector.web.metrics import InjectorMetrics


def _get(path: str, unready: Callable[[], str] = str, accept: str = "") -> httpx.Response:
    transport = httpx.ASGITransport(build_health_app(InjectorMetrics(), unready))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://injector") as client:
            return await client.get(path, headers={"Accept": accept})

    return asyncio.run(get())


def test_a_process_that_is_not_ready_says_why_and_lives() -> None:
    ready = _get("/readyz", lambda: "no namespaces yet")

    assert (ready.status_code, ready.text) == (503, "no namespaces yet\n")
    assert _get("/healthz", lambda: "no namespaces yet").status_code == 200


def test_readiness_is_asked_for_each_time() -> None:
    reasons = iter(["wait", ""])

    assert [_get("/readyz", lambda: next(reasons)).status_code for _ in range(2)] == [503, 200]


@pytest.mark.parametrize(
    ("accept", "media_type", "end"),
    [
        ("", "text/plain; version=0.0.4", "\n"),
        ("*/*", "text/plain; version=0.0.4", "\n"),
        ("text/plain;version=abc", "text/plain; version=0.0.4", "\n"),
        ("application/openmetrics-text;version=abc", "text/plain; version=0.0.4", "\n"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text", "# EOF\n"),
    ],
)
def test_metrics_come_in_the_format_that_was_asked_for(
    accept: str, media_type: str, end: str
) -> None:
    answer = _get("/metrics", accept=accept)

    assert answer.headers["content-type"].startswith(media_type)
    assert answer.text.endswith(end)
    assert "livery_policy_streams 0.0\n" in answer.text

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from sidecar.pods import watch
from sidecar.pods.source import KubernetesPods
from tests.sidecar.apps import App, until
from tests.sidecar.model.pods.test_scraped_pod import raw_pod
from tests.sidecar.pods.servers import WATCH, client_of, listed, refused

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def _following(
    answers: dict[str, bytes], namespaces: Sequence[str] = (), *, wants_labels: bool = False
) -> AsyncIterator[tuple[KubernetesPods, App]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        if "watch=1" in app.requests[-1]:
            writer.write(WATCH)
            await asyncio.sleep(60)
            return
        path = app.requests[-1].split(" ")[1].partition("?")[0]
        writer.write(answers.get(path, listed()))

    app = App(answer)
    async with app:
        pods = KubernetesPods(
            client_of(app), namespaces, "app=web", wants_labels=wants_labels,
            on_change=lambda: None,
        )  # fmt: skip
        tasks = [asyncio.ensure_future(task()) for task in pods.tasks()]
        try:
            yield pods, app
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            pods.close()


@pytest.fixture(autouse=True)
def _tries_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_BACKOFF_SECONDS", 0.01)


def _namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"uid": name, "name": name, "labels": labels}}


async def test_pods_of_all_namespaces_come_by_one_watch() -> None:
    async with _following({"/api/v1/pods": listed(raw_pod())}) as (pods, _):
        await until(lambda: pods.is_listed)

        assert [pod.name for pod in pods.pods] == ["web-0"]
        assert pods.error() == ""


async def test_pods_of_named_namespaces_come_by_a_watch_each() -> None:
    answers = {"/api/v1/namespaces/shop/pods": listed(raw_pod())}
    async with _following(answers, ["shop", "bank"]) as (pods, app):
        await until(lambda: pods.is_listed)

        paths = {head.split(" ")[1].partition("?")[0] for head in app.requests}
        assert paths == {"/api/v1/namespaces/shop/pods", "/api/v1/namespaces/bank/pods"}
        assert [pod.name for pod in pods.pods] == ["web-0"]


async def test_namespaces_labels_are_followed_where_they_are_wanted() -> None:
    answers = {"/api/v1/namespaces": listed(_namespace("shop", team="blue"))}
    async with _following(answers, wants_labels=True) as (pods, _):
        await until(lambda: pods.is_listed)

        assert pods.namespace_labels == {"shop": {"team": "blue"}}


async def test_a_missing_right_is_named_with_the_commands_that_give_it() -> None:
    message = 'pods is forbidden: User "system:serviceaccount:mon:agg" cannot list resource "pods"'
    answers = {"/api/v1/namespaces/shop/pods": refused("403 Forbidden", message)}
    async with _following(answers, ["shop"]) as (pods, _):
        await until(lambda: bool(pods.error()))

        assert pods.error().endswith(
            "; grant list and watch on pods: kubectl create role livery-pods-agg "
            "--verb=list,watch --resource=pods -n shop; kubectl create rolebinding "
            "livery-pods-agg --role=livery-pods-agg --serviceaccount=mon:agg -n shop"
        )
        assert not pods.is_listed


async def test_a_namespace_that_is_refused_costs_only_itself() -> None:
    message = 'pods is forbidden: User "system:serviceaccount:mon:agg" cannot list resource "pods"'
    answers = {
        "/api/v1/namespaces/shop/pods": listed(raw_pod()),
        "/api/v1/namespaces/bank/pods": refused("403 Forbidden", message),
    }
    async with _following(answers, ["shop", "bank"]) as (pods, _):
        await until(lambda: pods.is_listed and bool(pods.error()))

        assert [pod.name for pod in pods.pods] == ["web-0"]
        assert "-n bank" in pods.error()
        assert "-n shop" not in pods.error()


async def test_for_all_namespaces_the_right_is_the_clusters() -> None:
    answers = {"/api/v1/pods": refused("403 Forbidden", "no")}
    async with _following(answers) as (pods, _):
        await until(lambda: bool(pods.error()))

        assert "kubectl create clusterrole livery-pods" in pods.error()
        assert "--user=NAME" in pods.error()


async def test_an_expired_token_is_said_to_be_one() -> None:
    answers = {"/api/v1/pods": refused("401 Unauthorized", "Unauthorized")}
    async with _following(answers) as (pods, _):
        await until(lambda: bool(pods.error()))

        assert "the token or certificate is invalid or has expired" in pods.error()
        assert pods.failures > 0
        assert pods.age_seconds > 0

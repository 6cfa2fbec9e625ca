"""Tokens that a real API server issues and reviews."""

import asyncio

import pytest
from kubernetes.client import Configuration

from injector.control.identity import Caller
from injector.errors import IdentityError
from injector.kube.api.client import KubeClient
from injector.kube.tokens import authenticator as identity
from injector.kube.tokens import queue
from injector.kube.tokens.authenticator import TokenReviewAuthenticator
from tests.cluster.fixtures import Namespace


def _judge(client: KubeClient, token: str) -> Caller:
    return asyncio.run(TokenReviewAuthenticator(client).authenticate(token))


def test_a_pods_token_says_who_it_is_and_until_when(
    client: KubeClient, namespace: Namespace
) -> None:
    uid = namespace.pod("web-0")["metadata"]["uid"]
    caller = _judge(client, namespace.token("default", pod="web-0"))

    assert caller[:4] == (namespace.name, "web-0", uid, f"{namespace.name}/default")
    assert caller.expires_at is not None


@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc", "livery", "other"])
def test_a_token_for_somebody_else_is_refused(
    client: KubeClient, namespace: Namespace, audience: str
) -> None:
    namespace.pod("web-0")
    token = namespace.token("default", pod="web-0", audience=audience)
    with pytest.raises(IdentityError) as caught:
        _judge(client, token)
    assert caught.value.status == 401


def test_a_token_of_no_pod_is_refused(client: KubeClient, namespace: Namespace) -> None:
    with pytest.raises(IdentityError, match="belongs to no pod") as caught:
        _judge(client, namespace.token("default"))
    assert caught.value.status == 403


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud800", "x" * 20_000, "administrator"])
def test_what_is_no_token_is_refused(client: KubeClient, token: str) -> None:
    with pytest.raises(IdentityError) as caught:
        _judge(client, token)
    assert caught.value.status == 401


def test_a_deleted_pods_token_counts_no_more(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "CACHE_SECONDS", 0.0)
    monkeypatch.setattr(identity, "RECHECK_SECONDS", 0.0)
    namespace.pod("web-0")
    token = namespace.token("default", pod="web-0")
    path = f"{namespace.path}/pods/web-0?gracePeriodSeconds=0"
    authenticator = TokenReviewAuthenticator(client)

    async def body() -> None:
        caller = await authenticator.authenticate(token)
        client.request("DELETE", path.split("?")[0], query={"gracePeriodSeconds": "0"})
        async with asyncio.timeout(30):  # the API server caches tokens for ten seconds
            while await authenticator.is_still_valid(token, caller):
                await asyncio.sleep(0.2)

    asyncio.run(body())


def test_a_storm_of_ten_thousand_asks_once_a_token_and_a_bounded_number_at_once(
    client: KubeClient, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        namespace.pod(f"web-{number}")
    tokens = [namespace.token("default", pod=f"web-{number}") for number in range(200)]
    running: list[int] = []
    most = asked = 0
    review = TokenReviewAuthenticator._review

    def watched(self: TokenReviewAuthenticator, token: str) -> identity._Judged:
        nonlocal most, asked
        asked += 1
        running.append(1)
        most = max(most, len(running))
        try:
            return review(self, token)
        finally:
            running.pop()

    monkeypatch.setattr(TokenReviewAuthenticator, "_review", watched)
    monkeypatch.setattr(queue, "MAX_REVIEWS", 4)

    async def body() -> None:
        authenticator = TokenReviewAuthenticator(client)
        asks = [
            authenticator.authenticate(token, f"10.0.0.{number}")
            for number, token in enumerate(tokens)
            for _ in range(50)
        ]
        callers = await asyncio.gather(*asks)
        assert {caller.pod for caller in callers} == {f"web-{number}" for number in range(200)}

    asyncio.run(body())
    assert asked == 200
    assert most <= 4


def test_an_api_server_that_is_away_ends_no_stream(
    client: KubeClient, namespace: Namespace
) -> None:
    namespace.pod("web-0")
    token = namespace.token("default", pod="web-0")
    caller = _judge(client, token)
    away = TokenReviewAuthenticator(KubeClient(Configuration(host="https://127.0.0.1:1")))

    assert asyncio.run(away.is_still_valid(token, caller))
    with pytest.raises(IdentityError) as caught:
        asyncio.run(away.authenticate(token))
    assert caught.value.status == 503


def test_a_refusal_is_an_error_of_its_own_each_time(client: KubeClient) -> None:
    async def body() -> None:
        authenticator = TokenReviewAuthenticator(client)
        errors = []
        for _ in range(3):
            with pytest.raises(IdentityError) as caught:
                await authenticator.authenticate("nonsense")
            errors.append(caught.value)
        assert len({id(error) for error in errors}) == 3

    asyncio.run(body())

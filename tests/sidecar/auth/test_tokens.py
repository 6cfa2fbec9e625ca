"""Authorization of scrapes of a node proxy."""

import asyncio
from typing import Any

import pytest

from sidecar.auth.tokens import TokenAuthorizer
from sidecar.errors import UpstreamError
from tests.sidecar.auth.judge import Judge

USER = {"username": "system:serviceaccount:monitoring:prometheus", "groups": []}
MAY = {"authenticated": True, "user": USER, "allowed": True, "validSeconds": 30.0}


def _refuse(judge: Judge, token: str = "Bearer abc", *accounts: str) -> tuple[int, str]:
    refusal = asyncio.run(
        TokenAuthorizer(judge.ask, frozenset(accounts)).authorize({"authorization": token})
    )
    return (0, "") if refusal is None else (refusal.status, refusal.sentence)


def test_whoever_may_read_the_kubelet_s_metrics_may_read_ours() -> None:
    judge = Judge(MAY)

    assert _refuse(judge) == (0, "")
    access = {"verb": "get", "resource": "nodes", "subresource": "metrics"}
    assert judge.questions == [{"token": "abc", "access": access}]


def test_pods_are_told_to_whoever_the_kubelet_would_tell_them() -> None:
    judge = Judge({**MAY, "allowed": False})
    authorizer = TokenAuthorizer(judge.ask, frozenset(), "pods")

    refusal = asyncio.run(authorizer.authorize({"authorization": "Bearer abc"}))

    assert refusal is not None
    assert "prometheus may not get nodes/pods" in refusal.sentence
    access = {"verb": "get", "resource": "nodes", "subresource": "pods"}
    assert judge.questions == [{"token": "abc", "access": access}]


@pytest.mark.parametrize("header", ["", "abc", "Basic abc", "Bearer ", f"Bearer {'x' * 20_000}"])
def test_without_a_token_nobody_is_asked(header: str) -> None:
    judge = Judge()

    assert _refuse(judge, header)[0] == 401
    assert judge.questions == []


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ({"authenticated": False}, 401, "the token is not valid"),
        ({}, 401, "the token is not valid"),
        ({**MAY, "user": "x"}, 401, "the token is not valid"),
        ({**MAY, "allowed": False}, 403, "prometheus may not get nodes/metrics"),
        ({**MAY, "allowed": "yes"}, 403, "may not get"),
        (UpstreamError("away"), 503, "the token review failed: away"),
    ],
)
def test_who_is_not_let_in_is_told_why(answer: Any, status: int, reason: str) -> None:
    found, sentence = _refuse(Judge(answer))

    assert found == status
    assert reason in sentence


def test_a_named_account_needs_no_right_of_its_own() -> None:
    answer = {**MAY, "allowed": False}

    assert _refuse(Judge(answer), "Bearer abc", "monitoring/prometheus") == (0, "")
    assert _refuse(Judge(answer), "Bearer abc", "monitoring/other")[0] == 403
    imposter = {**answer, "user": {"username": "monitoring:prometheus"}}
    assert _refuse(Judge(imposter), "Bearer abc", "monitoring/prometheus")[0] == 403


def test_an_answer_counts_as_long_as_the_control_service_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        judge = Judge(MAY, {**MAY, "allowed": False}, UpstreamError("away"), MAY)
        door = TokenAuthorizer(judge.ask, frozenset())
        now = 1000.0
        monkeypatch.setattr("sidecar.auth.decisions.time.monotonic", lambda: now)
        headers = {"authorization": "Bearer abc"}
        assert await door.authorize(headers) is None
        now = 1029.0
        assert await door.authorize(headers) is None
        assert len(judge.questions) == 1
        now = 1031.0
        refused = await door.authorize(headers)
        assert refused is not None
        assert refused.status == 403
        now = 1040.0
        away = await door.authorize(headers)
        assert away is not None
        assert away.status == 503
        assert await door.authorize(headers) is None  # a failed review is not cached

    asyncio.run(body())


def test_many_requests_with_one_token_are_one_question() -> None:
    async def body() -> None:
        judge = Judge({**MAY, "validSeconds": 10**400})
        door = TokenAuthorizer(judge.ask, frozenset())
        headers = {"authorization": "Bearer abc"}
        found = await asyncio.gather(*(door.authorize(headers) for _ in range(20)))
        assert found == [None] * 20
        assert len(judge.questions) == 1

    asyncio.run(body())

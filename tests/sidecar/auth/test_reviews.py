import asyncio

import pytest

from sidecar.auth.reviews import Review, TokenReviews, read_bearer
from sidecar.errors import UpstreamError
from tests.sidecar.auth.judge import Judge

pytestmark = pytest.mark.anyio

_NAME = "system:serviceaccount:shop:grafana"
_MAY = {"authenticated": True, "user": {"username": _NAME}, "allowed": True, "validSeconds": 30}


async def test_a_question_has_the_audiences_and_what_is_to_be_done() -> None:
    judge = Judge(_MAY, _MAY)
    reviews = TokenReviews(judge.ask, audiences=("a",))

    assert (await reviews.review("t")).username == _NAME
    assert (await reviews.review("t", {"verb": "get", "path": "/x"})).is_allowed
    assert judge.questions == [
        {"token": "t", "audiences": ["a"]},
        {"token": "t", "audiences": ["a"], "access": {"verb": "get", "path": "/x"}},
    ]


async def test_each_question_about_a_token_is_remembered_for_itself() -> None:
    judge = Judge(_MAY, {**_MAY, "allowed": False})
    reviews = TokenReviews(judge.ask)

    for _ in range(2):
        assert (await reviews.review("t", {"verb": "get"})).is_allowed
        assert not (await reviews.review("t", {"verb": "list"})).is_allowed
    assert len(judge.questions) == 2
    assert not reviews.knows("t")


async def test_a_token_is_known_that_was_accepted_ever_or_refused_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reviews = TokenReviews(Judge(_MAY, {**_MAY, "allowed": False}).ask)
    now = 1000.0
    monkeypatch.setattr("sidecar.auth.decisions.time.monotonic", lambda: now)
    await reviews.review("good")
    await reviews.review("bad")
    assert reviews.knows("good")
    assert reviews.knows("bad")

    now = 2000.0
    assert reviews.knows("good")
    assert not reviews.knows("bad")


async def test_who_is_accepted_for_another_reason_is_remembered_as_long() -> None:
    answer = {**_MAY, "allowed": False}
    judge = Judge(answer, answer)
    accepting = TokenReviews(judge.ask, accepts=lambda review: review.username == _NAME)

    assert (await accepting.review("t")).valid_seconds == 30
    assert (await TokenReviews(judge.ask).review("t")).valid_seconds == 5
    assert accepting.knows("t")


async def test_what_cannot_be_judged_is_said_and_asked_again() -> None:
    judge = Judge(UpstreamError("away"), _MAY)
    reviews = TokenReviews(judge.ask)

    review = await reviews.review("t")
    assert review == Review("", is_allowed=False, trouble="the token review failed: away")
    assert (await reviews.review("t")).username == _NAME


async def test_who_waits_for_an_answer_may_go_away() -> None:
    judge = Judge(_MAY)
    reviews = TokenReviews(judge.ask)
    first = asyncio.create_task(reviews.review("t"))
    await asyncio.sleep(0)
    second = asyncio.create_task(reviews.review("t"))
    first.cancel()

    assert (await second).username == _NAME


@pytest.mark.parametrize(
    ("name", "account"),
    [
        (_NAME, ("shop", "grafana")),
        ("system:serviceaccount:shop:", None),
        ("system:serviceaccount::grafana", None),
        ("shop:grafana", None),
        ("alice", None),
    ],
)
def test_a_service_account_is_told_by_its_name(name: str, account: object) -> None:
    assert Review(name, is_allowed=True).account == account


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("abc", ""), ("Basic abc", ""),
        ("Bearer", ""), (f"Bearer {'x' * 20_000}", ""),
    ],
)  # fmt: skip
def test_a_bearer_token_is_read(header: str, token: str) -> None:
    assert read_bearer(header) == token

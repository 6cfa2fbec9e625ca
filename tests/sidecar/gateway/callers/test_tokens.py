"""Callers with Kubernetes tokens; tests/cluster uses a real API server."""

from typing import Any

import pytest

from sidecar.errors import UpstreamError
from sidecar.gateway.callers.caller import Credentials
from sidecar.gateway.callers.tokens import QUESTION_BURST, TokenCaller, Tokens
from sidecar.gateway.refusals import Refusal

pytestmark = pytest.mark.anyio

_GRAFANA = "system:serviceaccount:shop:grafana"
_TOKEN = Credentials({"authorization": "Bearer abc"}, "10.0.0.1")


class _Judge:
    """A stand-in for the control service that knows one user and that user's permissions."""

    def __init__(self, name: str = _GRAFANA, *allowed: str) -> None:
        self.name = name
        self.allowed = allowed
        """Namespaces and paths."""
        self.questions: list[dict[str, Any]] = []
        self.is_away = False

    async def ask(self, question: dict[str, object]) -> dict[str, object]:
        self.questions.append(question)
        if self.is_away:
            raise UpstreamError("away")
        if not self.name:
            return {"authenticated": False}
        access: Any = question.get("access", {})
        wanted = access.get("namespace") or access.get("path")
        return {
            "authenticated": True, "user": {"username": self.name}, "validSeconds": 60,
            "allowed": not wanted or wanted in self.allowed,
        }  # fmt: skip


async def _identify(judge: _Judge) -> TokenCaller:
    caller = await Tokens(judge.ask).identify(_TOKEN)
    assert caller is not None
    return caller


async def test_a_service_account_is_the_tenant_of_its_namespace() -> None:
    judge = _Judge()
    caller = await _identify(judge)

    assert (caller.name, caller.tenants) == (_GRAFANA, frozenset(["shop"]))
    assert await caller.may_be("shop")
    assert judge.questions == [{"token": "abc", "audiences": ["livery-gateway"]}]


async def test_who_may_read_a_namespaces_rules_may_be_its_tenant() -> None:
    judge = _Judge("alice", "bank", "/debug/targets")
    caller = await _identify(judge)

    assert not caller.tenants
    assert await caller.may_be("bank")
    assert not await caller.may_be("lab")
    assert judge.questions[1]["access"] == {
        "verb": "get", "group": "observability.ethos.io", "resource": "metricaccesses",
        "namespace": "bank",
    }  # fmt: skip
    assert await caller.may_read("/debug/targets")
    assert not await caller.may_read("/debug/tenants")


@pytest.mark.parametrize("header", ["Bearer abc", "Bearer ", f"Bearer {'x' * 20_000}"])
async def test_a_token_that_is_nobody_s_is_not_known(header: str) -> None:
    tokens = Tokens(_Judge("").ask)
    credentials = Credentials({"authorization": header}, "")

    assert tokens.takes(credentials)
    assert not tokens.knows(credentials)
    assert await tokens.identify(credentials) is None


async def test_a_token_that_was_good_costs_no_attempt() -> None:
    tokens = Tokens(_Judge().ask)
    await tokens.identify(_TOKEN)

    assert tokens.knows(_TOKEN)
    assert not tokens.takes(Credentials({"authorization": "Basic abc"}, ""))


async def test_nobody_is_let_in_while_nobody_can_be_asked() -> None:
    judge = _Judge()
    caller = await _identify(judge)
    judge.is_away = True

    for asked in (caller.may_be("bank"), caller.may_read("/debug/targets"), _identify(judge)):
        with pytest.raises(Refusal, match="the token review failed: away") as caught:
            await asked
        assert caught.value.status == 503
    assert await caller.may_be("shop")


async def test_new_questions_about_one_user_are_bounded() -> None:
    judge = _Judge("alice", "bank")
    caller = await _identify(judge)
    assert await caller.may_be("bank")
    statuses = []
    for number in range(QUESTION_BURST + 10):
        try:
            assert not await caller.may_be(f"lab-{number}")
        except Refusal as refusal:
            statuses.append(refusal.status)

    assert set(statuses) == {429}
    for _ in range(QUESTION_BURST):
        assert not await caller.may_be("lab-0")  # a cached decision does not use up the limit
    assert len(judge.questions) <= QUESTION_BURST + 5
    assert await caller.may_be("bank")

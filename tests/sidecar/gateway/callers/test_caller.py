import pytest

from sidecar.gateway.callers.caller import Credentials, KnownCaller

pytestmark = pytest.mark.anyio


async def test_a_known_caller_is_what_it_is_said_to_be() -> None:
    caller = KnownCaller("grafana", frozenset(["shop"]))

    assert await caller.may_be("shop")
    assert not await caller.may_be("bank")
    assert not await caller.may_read("/debug/targets")
    assert await caller._replace(is_admin=True).may_read("/debug/targets")


def test_credentials_may_lack_a_header() -> None:
    assert Credentials({}, "10.0.0.1").authorization == ""
    assert Credentials({"authorization": "x"}, "").authorization == "x"

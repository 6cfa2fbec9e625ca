"""Outlets are kept if their receivers stay the same; others send what is queued."""

import asyncio
import ipaddress

import pytest

from sidecar.control.sending import Loss
from sidecar.forward.outlet import Outlet, Packer
from sidecar.forward.outlets import Outlets
from sidecar.model.policy.forward import Forwarding, ForwardRule
from sidecar.model.remote_write.requests import write_vector
from tests.sidecar.apps import App, http
from tests.sidecar.forward.names import RESOLVER
from tests.sidecar.forward.test_pod_rule import forward_rule

pytestmark = pytest.mark.anyio

_AROUND = Forwarding((), (ipaddress.ip_network("127.0.0.0/8"),))
_SERIES = write_vector([({"__name__": "a"}, 1.0)], 1)[0]
_TAKEN = http(b"", "", "204 No Content")


def _outlet(outlets: Outlets, rule: ForwardRule, known: Outlet | None = None) -> Outlet:
    return outlets.outlet(rule, _AROUND, known, limit_bytes=1 << 20, namespace="shop")


async def test_an_outlet_stays_as_long_as_its_receivers_do() -> None:
    outlets = Outlets({})
    known = _outlet(outlets, forward_rule("a"))

    assert _outlet(outlets, forward_rule("b"), known) is known
    assert _outlet(outlets, forward_rule("a", port=2), known) is not known


async def test_nothing_is_sent_to_the_control_plane() -> None:
    outlet = _outlet(Outlets({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}), forward_rule("a"))
    reach = outlet._writes[0]._receiver._reach

    assert not reach.allows(ipaddress.ip_address("10.96.0.1"))
    assert not reach._replace(is_service=True).allows(ipaddress.ip_address("10.96.0.1"))


async def test_what_waits_is_sent_for_so_long_at_most() -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with App(_TAKEN) as quick, App(hang) as slow:
        outlets = Outlets({})
        made = [_outlet(outlets, forward_rule("a", port=app.port)) for app in (quick, slow)]
        for outlet in made:
            outlet.put(Packer().pack(_SERIES, 1, 0))
        async with asyncio.timeout(5):
            await outlets.flush(made, 0.5)

        assert (len(quick.requests), len(slow.requests)) == (1, 1)
        assert outlets._leaving == set()
        (late,) = made[1]._writes
        assert late.progress.lost == {Loss.ENDED: 1}


async def test_a_fault_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Outlet):
        async def flush(self, seconds: float, *, is_ended: bool = True) -> None:
            raise RuntimeError("nobody foresaw this")

    outlets = Outlets({})
    broken = Broken(
        forward_rule("a"),
        _AROUND,
        frozenset(),
        resolver=RESOLVER,
        limit_bytes=1 << 20,
        namespace="shop",
    )
    await outlets.flush([broken], 1)

    assert "queued samples cannot be sent" in caplog.text

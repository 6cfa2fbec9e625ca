"""The receivers of one rule: all get the same data, and a slow one does not delay another."""

import asyncio
import ipaddress

import cramjam
import pytest

from sidecar.control.sending import Loss
from sidecar.forward.outlet import MAX_BATCH_BYTES, Outlet, Packer
from sidecar.model.access.rules import parse_access_rule
from sidecar.model.policy.forward import Forwarding, ForwardRule, ReceiverAddress, ReceiverKind
from sidecar.model.policy.secret import Credential
from sidecar.model.remote_write.push import Group
from sidecar.model.remote_write.requests import Request, write_vector
from sidecar.model.remote_write.selection import SendingRule
from tests.sidecar.apps import App, http, until
from tests.sidecar.forward.names import RESOLVER
from tests.sidecar.model.remote_write.test_wire import read_series

pytestmark = pytest.mark.anyio

_AROUND = Forwarding((), (ipaddress.ip_network("127.0.0.0/8"),), {"s/pw": Credential("x")})
_STAMP = 1_795_000_000_000


def _rule(*receivers: ReceiverAddress) -> ForwardRule:
    access = parse_access_rule({"name": "r", "patterns": ["a"], "namespaces": ["shop"]}, "rule")
    return ForwardRule(SendingRule(access, {}, honor_labels=False), 5.0, receivers)


def _outlet(*receivers: ReceiverAddress, around: Forwarding = _AROUND) -> Outlet:
    return Outlet(
        _rule(*receivers),
        around,
        frozenset(),
        resolver=RESOLVER,
        limit_bytes=100_000,
        namespace="shop",
    )


def _at(port: int, **fields: object) -> ReceiverAddress:
    return ReceiverAddress("127.0.0.1", port, "/write", **fields)  # type: ignore[arg-type]


def _requests(count: int, start: int = 0) -> list[Request]:
    series = [({"__name__": "a", "n": str(start + n)}, 1.0) for n in range(count)]
    return write_vector(series, _STAMP)[0]


class _Site(App):
    """A receiver that records the number of series in each request."""

    def __init__(self, delay_seconds: float = 0.0) -> None:
        super().__init__(self._take)
        self.counts: list[int] = []
        self._delay_seconds = delay_seconds

    async def _take(self, writer: asyncio.StreamWriter) -> None:
        body = await self.read_body(writer)
        await asyncio.sleep(self._delay_seconds)
        self.counts.append(len(read_series(bytes(cramjam.snappy.decompress_raw(body)))))
        writer.write(http(b"", "", "204 No Content"))


async def test_all_receivers_get_the_same_and_a_slow_one_holds_no_other() -> None:
    async with _Site() as quick, _Site(delay_seconds=30) as slow:
        outlet = _outlet(_at(quick.port), _at(slow.port))
        outlet.start()
        outlet.put(Packer().pack(_requests(3), _STAMP, 0))
        await until(lambda: bool(quick.counts))
        state = outlet.state("r", 3, ())
        assert (state.sent, state.waiting) == (3, 3)
        assert state.lag_seconds > 0
        assert state.last_sent_at > 0
        await outlet.flush(0)

    assert outlet.state("r", 3, ()).lost == {Loss.ENDED: 3}


async def test_small_requests_are_sent_as_one_and_a_thousand_series_at_most() -> None:
    async with _Site() as site:
        outlet = _outlet(_at(site.port))
        parts = [one for at in range(5) for one in _requests(300, 1000 * at)]
        outlet.put(Packer().pack(parts, _STAMP, 0))
        await outlet.flush(5)

    assert site.counts == [900, 600]


async def test_metadata_go_alone_so_that_no_sample_is_refused_for_them() -> None:
    async with _Site() as site:
        outlet = _outlet(_at(site.port))
        outlet.put(Packer().pack(_requests(3), _STAMP, 0, b"\x1a\x00"))
        outlet.put(Packer().pack([], _STAMP, 0))
        await outlet.flush(5)

    assert site.counts == [3, 0]


async def test_groups_are_pushed() -> None:
    async with App(http(b"")) as app:
        outlet = _outlet(_at(app.port, kind=ReceiverKind.PUSH))
        outlet.push({Group("web", ""): (b"a 1\n", 1)}, _STAMP)
        await outlet.flush(5)

    assert app.requests[0].startswith("PUT /write/metrics/job/web HTTP/1.1")
    assert outlet.state("r", 1, ()).sent == 1


def test_a_receiver_whose_credential_is_missing_is_said() -> None:
    outlet = _outlet(_at(1, username="a", password="s/gone"))

    assert "missing keys of Secrets: s/gone" in outlet.state("r", 0, ()).error


def test_receivers_stay_as_long_as_all_that_they_depend_on_does() -> None:
    address = _at(1, username="a", password="s/pw")
    outlet = _outlet(address)
    assert outlet.serves(_rule(address), _AROUND)
    assert not outlet.serves(_rule(_at(2)), _AROUND)
    assert not outlet.serves(_rule(address), Forwarding((), (), _AROUND.credentials))
    changed = Forwarding((), _AROUND.allowed, {"s/pw": Credential("y")})
    assert not outlet.serves(_rule(address), changed)


async def test_what_waits_stays_though_a_credential_is_missing_for_a_while() -> None:
    async with _Site() as site:
        known = Forwarding((), _AROUND.allowed)
        address = _at(site.port, username="a", password="s/pw")
        before = _outlet(address, around=known)
        before.put(Packer().pack(_requests(3), _STAMP, 0))
        before.start()
        await asyncio.sleep(0.1)
        after = _outlet(address)
        after.inherit(before)
        await after.flush(5)

    assert site.counts == [3]
    assert after.state("r", 3, ()).lost == {}


async def test_each_receiver_keeps_what_waits_for_it_though_another_goes_before_it() -> None:
    async with _Site() as one, _Site() as other:
        before = _outlet(_at(one.port), _at(other.port))
        before.put(Packer().pack(_requests(3), _STAMP, 0))
        after = _outlet(_at(other.port), _at(9))
        after.inherit(before)
        after.put(Packer().pack(_requests(2), _STAMP + 1, 0))
        await after.flush(0.5)

    assert (one.counts, other.counts) == ([], [3, 2])
    assert after.state("r", 3, ()).lost == {Loss.ENDED: 3 + 2}
    assert after.state("r", 3, ()).sent == 5


def test_a_series_stays_in_its_lane_or_a_new_generation_begins() -> None:
    """Otherwise a sample could arrive after a newer one of its series."""
    packer, ended = Packer(), [Request(b"ended", 1)]
    steps = [
        (0, _requests(2500)), (0, _requests(2500)), (1, [*ended, *_requests(2500)]),
        (1, _requests(2500)), (1, _requests(2500)), (1, _requests(2499)),
    ]  # fmt: skip
    found = [
        [(batch.generation, batch.lane, batch.samples) for batch in packer.pack(requests, 1, plan)]
        for plan, requests in steps
    ]

    assert found[0] == found[1] == [(1, 0, 1000), (1, 1, 1000), (1, 2, 500)]
    assert [batches[0][0] for batches in found] == [1, 1, 2, 3, 3, 4]


def test_large_requests_are_batches_of_their_own() -> None:
    body = b"x" * (MAX_BATCH_BYTES // 2 + 1)
    batches = Packer().pack([Request(body, 2)] * 3, _STAMP, 0, b"described")

    assert [batch.samples for batch in batches] == [2, 2, 2, 0]
    assert [batch.lane for batch in batches] == [0, 1, 2, 3]

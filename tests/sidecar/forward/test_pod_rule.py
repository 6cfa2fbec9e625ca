"""The requests that one rule makes from a scrape, without sending them."""

import ipaddress
from typing import Any

import cramjam
import pytest

from sidecar.errors import UpstreamError
from sidecar.forward.outlet import Outlet
from sidecar.forward.pod_rule import PodRule
from sidecar.model.access.rules import Identity, parse_access_rule
from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.exposition.limits import Limits
from sidecar.model.policy.forward import Forwarding, ForwardRule, ReceiverAddress, ReceiverKind
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.remote_write.selection import PlanBudget, SendingRule
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import Target
from sidecar.scrape.fetch import Fetched
from sidecar.scrape.rendering import Collected
from sidecar.scrape.view import ScrapeView
from tests.sidecar.forward.names import RESOLVER
from tests.sidecar.model.remote_write.test_wire import read_message, read_series

pytestmark = pytest.mark.anyio

_IDENTITY = Identity("shop", "web-0", "", "web", "10.0.0.1:8080")
_NOW = 1_795_000_000_000
_TARGET = Target("web", "http", "", 8080, "/metrics")
_AROUND = Forwarding((), (ipaddress.ip_network("127.0.0.0/8"),))


def forward_rule(
    *patterns: str, kind: ReceiverKind = ReceiverKind.WRITE, port: int = 1
) -> ForwardRule:
    access = {"name": "r", "patterns": list(patterns), "namespaces": ["shop"]}
    sending = SendingRule(parse_access_rule(access, "rule"), {}, honor_labels=False)
    return ForwardRule(sending, 30.0, (ReceiverAddress("127.0.0.1", port, "/write", kind),))


class Rule:
    """A rule, and the requests that it queued."""

    def __init__(self, *patterns: str, kind: ReceiverKind = ReceiverKind.WRITE) -> None:
        rule = self.forward_rule = forward_rule(*patterns, kind=kind)
        self.outlet = Outlet(
            rule,
            _AROUND,
            frozenset(),
            resolver=RESOLVER,
            limit_bytes=1 << 20,
            namespace="shop",
        )
        self.rule = PodRule(rule, _IDENTITY, self.outlet, {"team": "web"})
        wanted = Negotiated(Format.TEXT, Escaping.ALLOW_UTF8)
        self.view = ScrapeView(
            SeriesPolicy(labels={"team": "web"}), RewriteContext(), (_TARGET,), wanted,
            limits=Limits(), fallback=None,
        )  # fmt: skip

    def collected(self, body: str, **fields: Any) -> Collected:
        fetched = Fetched(body.encode(), "text/plain; version=0.0.4")
        outcome = self.view.read(0, fetched, lambda: False, 100_000)
        return Collected(self.view, (_TARGET,), [outcome], [0.1], **fields)

    def take(self, body: str, room: int = 1 << 20) -> None:
        self.rule.take(self.collected(body), _NOW, PlanBudget(room_bytes=room))()

    def names(self) -> list[list[str]]:
        """Return the series names of each queued request."""
        (sender,) = self.outlet._writes
        return [
            [labels["__name__"] for labels, _, _ in read_series(
                bytes(cramjam.snappy.decompress_raw(batch.body))
            )]
            for batch in sender._queue._waiting
        ]  # fmt: skip


async def test_what_a_target_said_waits_as_one_request_with_its_up() -> None:
    rule = Rule("a", "up")
    rule.take("a 1\nb 2\n")

    assert rule.names() == [["a", "up"]]
    state = rule.rule.state()
    assert (state.series, state.unmatched, state.waiting) == (2, (), 2)


async def test_patterns_that_match_nothing_are_named_once_something_was_seen() -> None:
    rule = Rule("a", "nope")
    assert rule.rule.state().unmatched == ()
    rule.take("a 1\n")

    assert rule.rule.state().unmatched == ("nope",)


async def test_series_have_to_be_looked_at_once_for_each_shape_of_a_body() -> None:
    rule = Rule("a")
    assert rule.rule.to_plan(rule.collected("a 1\nb 2\n")) == 2
    rule.take("a 1\nb 2\n")

    assert rule.rule.to_plan(rule.collected("a 5\nb 6\n")) == 0
    assert rule.rule.to_plan(rule.collected("a 5\nb 6\nc 7\n")) == 3


async def test_series_for_which_there_is_no_room_are_left_out_and_that_is_said() -> None:
    rule = Rule("a")
    body = "".join(f'a{{n="{number}"}} 1\n' for number in range(10))
    rule.take(body, room=2000)

    assert 0 < len(rule.names()[0]) < 10
    assert "series are not sent: their labels would take" in rule.rule.state().error
    assert rule.rule.planned_bytes <= 2000


async def test_another_version_of_a_rule_ends_what_it_does_not_send() -> None:
    rule = Rule("a", "b")
    rule.take("a 1\nb 2\n")
    rule.rule.use(forward_rule("b"), {"team": "web"}, rule.outlet)
    rule.take("a 1\nb 2\n")

    assert rule.names() == [["a", "b"], ["a", "b"]]
    rule.rule.end(_NOW + 1)
    assert rule.names()[2:] == [["b"]]


async def test_families_of_what_is_sent_are_described_once_in_a_while() -> None:
    rule = Rule("a")
    for _ in range(2):
        rule.take("# HELP a What it is.\n# TYPE a counter\na 1\n")
    (sender,) = rule.outlet._writes
    described = [
        read_message(bytes(cramjam.snappy.decompress_raw(batch.body)))
        for batch in sender._queue._waiting
        if not batch.samples
    ]

    ((item,),) = (message[3] for message in described)
    assert read_message(item) == {1: [1], 2: [b"a"], 4: [b"What it is."]}
    assert rule.names() == [["a"], [], ["a"]]


async def test_a_target_that_was_guessed_and_is_silent_sends_nothing() -> None:
    rule = Rule("up")
    collected = rule.collected("a 1\n", silent=frozenset([_TARGET]))
    rule.rule.take(collected, _NOW, PlanBudget())()

    assert rule.names() == []


async def test_a_rule_that_pushes_lets_groups_wait() -> None:
    rule = Rule("a", kind=ReceiverKind.PUSH)
    rule.take("a 1\n")
    (pusher,) = rule.outlet._pushes

    ((group, body),) = pusher._waiting.items()
    assert (group.job, group.instance) == ("web", "10.0.0.1:8080")
    assert body.text == b'a{container="web",namespace="shop",pod="web-0",team="web"} 1\n'


async def test_a_rule_is_due_when_its_interval_has_passed() -> None:
    rule = Rule("a").rule
    assert rule.is_due(0.0, 1.0)
    rule.tried_at = 100.0

    assert not rule.is_due(129.0, 1.0)
    assert rule.is_due(130.0, 1.0)
    assert rule.is_due(124.0, 0.8)
    assert rule.next_at == 130.0


async def test_another_interval_changes_nothing_of_what_is_known() -> None:
    rule = Rule("a", "nope")
    rule.take("a 1\n")
    rule.rule.use(rule.forward_rule._replace(interval_seconds=60), {"team": "web"}, rule.outlet)

    assert rule.rule.to_plan(rule.collected("a 1\n")) == 0
    assert rule.rule.state().unmatched == ("nope",)
    rule.rule.use(forward_rule("b"), {"team": "web"}, rule.outlet)
    assert rule.rule.state().unmatched == ()


async def test_families_are_described_once_there_are_any() -> None:
    rule = Rule("a")
    collected = rule.collected("a 1\n")
    gone = collected._replace(outcomes=[UpstreamError("gone")])
    rule.rule.take(gone, _NOW, PlanBudget())()
    rule.take("# TYPE a gauge\na 1\n")

    assert rule.names() == [["a"], []]

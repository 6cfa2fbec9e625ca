import gc
import math
import weakref
from itertools import count
from typing import Any

import pytest

from sidecar.errors import RuleError
from sidecar.model.access.rules import Identity, parse_access_rule
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Reading
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.remote_write import requests
from sidecar.model.remote_write.requests import TargetRequests, write_vector
from sidecar.model.remote_write.selection import PlanBudget, SendingRule
from sidecar.model.remote_write.wire import STALE, write_value
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.model.remote_write.test_wire import read_message, read_series

IDENTITY = Identity("shop", "web-0", "web", "web", "10.0.0.1:8080")
_NOW = 1_795_000_000_000
_VIRTUAL = {
    "namespace": "shop", "pod": "web-0", "container": "web", "job": "web",
    "instance": "10.0.0.1:8080",
}  # fmt: skip


def sending_rule(*patterns: str, extra: dict[str, str] | None = None, **fields: Any) -> SendingRule:
    honors = fields.pop("honors", False)
    access = {"name": "a", "patterns": list(patterns), "namespaces": ["shop"], **fields}
    return SendingRule(parse_access_rule(access, "rule"), extra or {}, honors)


class _Target:
    """A target with a rule, and the requests that are sent for it."""

    def __init__(self, rule: SendingRule, fmt: Format = Format.TEXT, **labels: str) -> None:
        self.fmt = fmt
        rewriter = SeriesRewriter(
            SeriesPolicy(labels=labels), RewriteContext(), Escaping.ALLOW_UTF8
        )
        self.cache = SeriesCache(rewriter, fmt, Limits())
        self.requests = TargetRequests(rule, IDENTITY)

    def send(self, body: str | None, stamp: int = _NOW) -> list[tuple[dict[str, str], bytes, int]]:
        reading: Reading | None = None if body is None else self.cache.read(body.encode())
        found = []
        for request in self.requests.write(reading, stamp, self.fmt, PlanBudget()):
            series = read_series(request.body)
            assert len(series) == request.samples
            found += series
        return found

    def names(self, body: str | None) -> dict[str, float]:
        """Return the values by name; NaN for series that have ended."""
        return {
            labels["__name__"]: math.nan if value == STALE else _number(value)
            for labels, value, _ in self.send(body)
        }


def _number(value: bytes) -> float:
    import struct

    found: float = struct.unpack("<d", value)[0]
    return found


def test_chosen_series_carry_their_labels_ours_and_whose_they_are() -> None:
    target = _Target(sending_rule("a", extra={"tenant": "shop"}), team="web")
    (series,) = target.send('# TYPE a counter\na{x="1"} 5\nb 7\n')

    labels, value, stamp = series
    assert labels == {**_VIRTUAL, "__name__": "a", "x": "1", "team": "web", "tenant": "shop"}
    assert (_number(value), stamp) == (5, _NOW)


def test_values_change_and_series_stay() -> None:
    target = _Target(sending_rule("{}"))
    assert target.names("a 1\nb 2\n") == {"a": 1, "b": 2, "up": 1}
    assert target.names("a 3\nb +Inf\n") == {"a": 3, "b": math.inf, "up": 1}


def test_a_series_that_is_gone_is_marked_to_have_ended_once() -> None:
    target = _Target(sending_rule("a", "b"))
    assert target.names("a 1\nb 2\n") == {"a": 1, "b": 2}
    found = target.names("a 1\n")
    assert found.pop("a") == 1
    assert list(found) == ["b"]
    assert math.isnan(found["b"])
    assert target.names("a 1\n") == {"a": 1}


def test_all_series_of_a_target_that_is_down_have_ended() -> None:
    target = _Target(sending_rule("{}"))
    target.send("a 1\n")
    found = target.names(None)
    assert math.isnan(found["a"])
    assert found["up"] == 0
    assert target.names(None) == {"up": 0}
    assert target.names("a 2\n") == {"a": 2, "up": 1}


@pytest.mark.parametrize(
    ("honors", "expected"), [(False, {"x": "ours", "y": "ours"}), (True, {"x": "own", "y": "ours"})]
)
def test_honor_labels_lets_the_series_own_label_stand(
    honors: bool, expected: dict[str, str]
) -> None:
    target = _Target(sending_rule("a", extra={"x": "ours", "y": "ours"}, honors=honors))
    ((labels, _, _),) = target.send('a{x="own"} 1\n')

    assert {name: labels[name] for name in "xy"} == expected


def test_relabelings_come_behind_the_filter_and_before_extra_labels() -> None:
    rules = [
        {"sourceLabels": ["__name__"], "regex": "a", "targetLabel": "kind", "replacement": "first"},
        {"sourceLabels": ["x"], "regex": "2", "action": "drop"},
        {"regex": "x|__tmp", "action": "labeldrop"},
    ]
    target = _Target(sending_rule("a", extra={"kind": "extra"}, metricRelabelings=rules))
    ((labels, _, _),) = target.send('a{x="1"} 1\na{x="2"} 2\n')

    assert labels["kind"] == "extra"
    assert "x" not in labels


def test_series_that_relabelings_make_one_are_sent_once() -> None:
    target = _Target(sending_rule("a", metricRelabelings=[{"regex": "x", "action": "labeldrop"}]))

    assert len(target.send('a{x="1"} 1\na{x="2"} 2\n')) == 1


@pytest.mark.parametrize(
    ("fmt", "body", "stamp"),
    [
        (Format.TEXT, "a 1 1700000000123\n", 1700000000123),
        (Format.OPENMETRICS, "# TYPE a gauge\na 1 1700000000.123\n# EOF\n", 1700000000123),
        (Format.OPENMETRICS, '# TYPE a counter\na_total 1 # {x="1"} 2\n# EOF\n', _NOW),
    ],
)
def test_a_moment_of_the_series_own_is_kept(fmt: Format, body: str, stamp: int) -> None:
    ((_, value, found),) = _Target(sending_rule("a", "a_total"), fmt).send(body)

    assert (_number(value), found) == (1, stamp)


def test_a_series_that_claims_another_namespace_is_of_its_own() -> None:
    ((labels, _, _),) = _Target(sending_rule("a")).send('a{namespace="bank",pod="x"} 1\n')

    assert (labels["namespace"], labels["pod"]) == ("shop", "x")


def test_many_series_are_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_SERIES", 2)
    target = _Target(sending_rule("a"))
    body = "".join(f'a{{n="{number}"}} {number}\n' for number in range(5))
    reading = target.cache.read(body.encode())

    for said in (reading, None):
        written = target.requests.write(said, _NOW, Format.TEXT, PlanBudget())
        assert [item.samples for item in written] == [2, 2, 1]


def test_series_that_say_when_they_were_are_not_marked_to_have_ended() -> None:
    target = _Target(sending_rule("a", "b"))
    target.send("a 1 1700000000123\nb 1\n")

    assert list(target.names("c 1\n")) == ["b"]


def test_series_that_another_version_of_the_rule_does_not_choose_have_ended() -> None:
    target = _Target(sending_rule("a", "b"))
    target.send("a 1\nb 2\n")
    target.requests.use(sending_rule("b", "c"))
    found = target.names("a 1\nb 2\nc 3\n")

    assert math.isnan(found.pop("a"))
    assert found == {"b": 2, "c": 3}


def test_at_the_end_all_series_have_ended_and_up_with_them() -> None:
    target = _Target(sending_rule("{}"))
    target.send("a 1\n")
    ended = [
        series for request in target.requests.end(_NOW) for series in read_series(request.body)
    ]

    assert [(labels["__name__"], value) for labels, value, _ in ended] == [
        ("a", STALE), ("up", STALE),
    ]  # fmt: skip
    assert list(target.requests.end(_NOW)) == []
    assert list(_Target(sending_rule("{}")).requests.end(_NOW)) == []


def test_exemplars_of_openmetrics_are_sent_with_their_series() -> None:
    body = (
        "# TYPE a counter\n"
        'a_total{n="1"} 1 # {trace_id="abc",x="\\"# {"} 0.5 1700000000.25\n'
        'a_total{n="2"} 2 # {trace_id="def"} 1\n'
        'a_total{n="3"} 3\n# EOF\n'
    )
    target = _Target(sending_rule("a_total"), Format.OPENMETRICS)
    reading = target.cache.read(body.encode())
    (request,) = target.requests.write(reading, _NOW, Format.OPENMETRICS, PlanBudget())
    series = [read_message(item) for item in read_message(request.body)[1]]
    exemplars = [[read_message(one) for one in item.get(3, [])] for item in series]

    def labels(exemplar: Any) -> dict[bytes, bytes]:
        return {pair[1][0]: pair[2][0] for pair in map(read_message, exemplar[1])}

    ((first,), (second,), none) = exemplars
    assert none == []
    assert labels(first) == {b"trace_id": b"abc", b"x": b'"# {'}
    assert first[3] == [1700000000250]
    assert labels(second) == {b"trace_id": b"def"}
    assert second[3] == [_NOW]


def test_patterns_are_counted_by_the_series_that_they_chose() -> None:
    target = _Target(sending_rule("a", "b.*", "c", "up"))
    target.send('a{x="1"} 1\na{x="2"} 1\nbb 1\n')

    assert target.requests.selector.matched == {"a": 2, "b.*": 1, "up": 1}


def test_a_vector_is_written_with_one_moment_and_no_series_twice() -> None:
    series = [({"__name__": "a"}, 1.0), ({"__name__": "b"}, 2.0), ({"__name__": "a"}, 3.0)]
    (request,), labels = write_vector(series, _NOW)

    assert read_series(request.body) == [
        ({"__name__": "a"}, write_value(1), _NOW), ({"__name__": "b"}, write_value(2), _NOW),
    ]  # fmt: skip
    assert len(labels) == 2


def test_up_wears_what_the_other_series_do_and_ends_when_that_changes() -> None:
    requests = TargetRequests(sending_rule("up"), IDENTITY, {"team": "web"})

    def sent() -> list[tuple[str, bytes]]:
        written = requests.write(None, _NOW, Format.TEXT, PlanBudget())
        found = [read_series(item.body) for item in written]
        return [(labels["team"], value) for ((labels, value, _),) in found]

    assert sent() == [("web", write_value(0))]
    requests.use(sending_rule("up"), {"team": "ops"})
    assert sent() == [("web", STALE), ("ops", write_value(0))]


def test_large_series_are_more_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_REQUEST_BYTES", 250)
    series = [({"__name__": "a", "n": f"{number}" + "x" * 100}, 1.0) for number in range(5)]

    assert [item.samples for item in write_vector(series, _NOW)[0]] == [2, 2, 1]


def test_the_series_of_one_moment_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_MOMENT_BYTES", 1 << 20)
    endless = (({"__name__": "a", "n": f"{number}" + "x" * 4000}, 1.0) for number in count())

    with pytest.raises(RuleError, match="exceed 1 MiB at one time; send fewer"):
        write_vector(endless, _NOW)


def test_the_body_of_which_series_were_chosen_is_not_kept_for_that() -> None:
    target = _Target(sending_rule("a"))
    target.send("a 1\n")
    was = weakref.ref(target.cache.read(b"a 1\n").shape)
    target.cache.read(b"b 1\n")
    gc.collect()

    assert was() is None
    assert target.names("a 2\n") == {"a": 2.0}


def test_series_that_were_not_looked_at_yet_have_not_ended() -> None:
    target = _Target(sending_rule("a", "b"))
    target.send("a 1\nb 1\n")
    target.requests.use(sending_rule("a", "b"))
    reading = target.cache.read(b"a 1\nb 1\n")
    names = [
        [
            (labels["__name__"], value == STALE)
            for request in target.requests.write(reading, _NOW, Format.TEXT, PlanBudget(1))
            for labels, value, _ in read_series(request.body)
        ]
        for _ in range(2)
    ]

    assert names == [[("a", False)], [("a", False), ("b", False)]]


def test_an_equal_body_is_known_though_its_shape_was_made_anew() -> None:
    target = _Target(sending_rule("a"))
    target.send("a 1\n")
    plans = target.requests.plans
    target.cache.read(b"b 1\n")
    shape = target.cache.read(b"a 2\n").shape

    assert target.requests.knows(shape)
    assert target.names("a 3\n") == {"a": 3.0}
    assert target.requests.plans == plans
    assert not target.requests.knows(target.cache.read(b'a{b="c"} 1\n').shape)

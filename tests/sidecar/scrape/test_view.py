import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import LateError, LimitError, LiveryError, UpstreamError
from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Reading
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.targets import parse_target
from sidecar.scrape.fetch import Fetched
from sidecar.scrape.view import ScrapeQuota, ScrapeView

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_TARGETS = [parse_target("a=http://:80/"), parse_target("http://:81/")]
_BLUE = SeriesPolicy(labels={"team": "blue"})
_DROP_ALL = parse_pod_policy(
    {
        "labels": {"team": "blue"},
        "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": ".*", "action": "drop"}],
        "access": [],
    }
).series


def _view(
    targets: int = 1,
    policy: SeriesPolicy = _BLUE,
    fmt: Format = Format.TEXT,
    limits: Limits = Limits(),  # noqa: B008
) -> ScrapeView:
    wanted = Negotiated(fmt, Escaping.UNDERSCORES)
    context = RewriteContext(target_label="container")
    return ScrapeView(policy, context, _TARGETS[:targets], wanted, limits=limits)


def _read(view: ScrapeView, body: bytes, kind: str = "text/plain", target: int = 0) -> Reading:
    outcome = view.read(target, Fetched(body, kind), lambda: False)
    assert isinstance(outcome, Reading), outcome
    return outcome


def _refusal(view: ScrapeView, body: bytes, kind: str = "text/plain") -> LiveryError:
    outcome = view.read(0, Fetched(body, kind), lambda: False)
    assert isinstance(outcome, LiveryError)
    return outcome


def _answer(view: ScrapeView, *bodies: bytes) -> bytes:
    readings = [_read(view, body, target=at) for at, body in enumerate(bodies)]
    tails = [tail for reading in readings for tail in reading.tails]
    return view.plan(readings).render(tails)


@pytest.mark.parametrize("kind", ["text/html", "application/json; charset=utf-8"])
def test_what_is_no_exposition_is_an_error_that_names_its_type(kind: str) -> None:
    error = _refusal(_view(), b"a 1\n", kind)

    assert isinstance(error, UpstreamError)
    assert f"answered Content-Type {kind!r}, which is not a text exposition" in str(error)


def test_an_error_does_not_hold_the_body_that_it_is_about() -> None:
    assert _refusal(_view(), b"a line that is none\n").__traceback__ is None


def test_a_client_of_text_gets_text_of_a_target_that_sends_openmetrics() -> None:
    view = _view()
    reading = _read(view, b"# TYPE a counter\na_total 1 1.5\n# EOF\n", _OPENMETRICS)

    answer = view.plan([reading]).render(reading.tails)

    assert answer == b'# TYPE a_total counter\na_total{team="blue"} 1 1500\n'


def test_a_late_reading_is_an_error_and_the_next_one_goes_on_where_it_stopped() -> None:
    view, fetched = _view(), Fetched(b"a 1\nb 1\nc 1\n", "text/plain")
    asked = 0

    def is_late() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    assert isinstance(view.read(0, fetched, is_late), LateError)
    assert isinstance(view.read(0, fetched, is_late), Reading)
    assert asked == 4  # one more call, for the series that was still new


def test_a_plan_is_used_again_while_only_values_change() -> None:
    view = _view()
    first, second = (view.plan([_read(view, b"a %d\n" % value)]) for value in (1, 2))

    assert first is second


@pytest.mark.parametrize("body", [b"a 1\nb 1\n", b"b 1\n", b'a{x="1"} 1\n', b"a 1\n# HELP c d\n"])
def test_a_plan_is_made_anew_when_the_series_change(body: bytes) -> None:
    view = _view()
    _answer(view, b"a 1\n")

    assert _answer(view, body) == _answer(_view(), body)


def test_a_plan_of_one_target_is_not_that_of_another() -> None:
    view, body = _view(targets=2), b"a 1\n"
    readings = [_read(view, body, target=at) for at in range(2)]

    answers = [view.plan([one]).render(one.tails) for one in readings]

    assert answers == [
        b'a{team="blue",container="a"} 1\n', b'a{team="blue",container="81"} 1\n',
    ]  # fmt: skip


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=4, unique=True), max_size=8))
def test_every_answer_is_that_of_a_view_that_remembers_nothing(scrapes: list[list[str]]) -> None:
    view, values = _view(targets=2), itertools.count()
    for names in scrapes:
        lines = [f"# TYPE {name} gauge\n{name} {next(values)}\n" for name in names]
        bodies = "".join(lines[:2]).encode(), "".join(lines[2:]).encode()

        assert _answer(view, *bodies) == _answer(_view(targets=2), *bodies)


def test_what_is_too_large_for_the_cache_is_read_anew_each_time() -> None:
    view = _view(limits=Limits(cache_bytes=1))

    assert [_answer(view, b"a %d\n" % value) for value in (1, 2)] == [
        b'a{team="blue"} 1\n', b'a{team="blue"} 2\n',
    ]  # fmt: skip
    assert view.cached_bytes == 0


def test_the_caches_of_all_targets_are_counted() -> None:
    view = _view(targets=2)
    sizes = []
    for at in range(2):
        _read(view, b"a 1\n", target=at)
        sizes.append(view.cached_bytes)

    assert 0 < sizes[0] < sizes[1]


def test_the_proxys_own_series_have_labels_and_pass_no_rules() -> None:
    view = _view(targets=2, policy=_DROP_ALL)
    values = [(target, 0.5) for target in _TARGETS]

    assert view.render_own([("up", "Whether.", values)]) == (
        b"# HELP livery_target_up Whether.\n# TYPE livery_target_up gauge\n"
        b'livery_target_up{team="blue",container="a"} 0.5\n'
        b'livery_target_up{team="blue",container="81"} 0.5\n'
    )
    assert _answer(view, b"a 1\n", b"") == b""


@pytest.mark.parametrize(("policy", "rules"), [(_BLUE, 0), (_DROP_ALL, 1)])
def test_the_rules_that_a_series_passes_are_counted(policy: SeriesPolicy, rules: int) -> None:
    assert _view(policy=policy).rules == rules


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(samples=3), "more than 3 samples from all targets in one scrape"),
        (Limits(lines_bytes=100), "more than 0 MiB of series from all targets in one scrape"),
    ],
)
def test_targets_that_are_each_small_enough_are_bounded_together(
    limits: Limits, reason: str
) -> None:
    view, quota = _view(targets=2), ScrapeQuota(limits)
    first, second = (_read(view, b"a 1\nb 1\n", target=at) for at in range(2))

    assert quota.take(first) is first
    refused = quota.take(second)
    assert isinstance(refused, LimitError)
    assert str(refused) == reason


def test_a_target_that_is_refused_takes_no_room_from_the_next() -> None:
    view, quota = _view(targets=2), ScrapeQuota(Limits(samples=2))
    down = UpstreamError("down")
    large, small = _read(view, b"a 1\nb 1\nc 1\n"), _read(view, b"a 1\n")

    assert quota.take(down) is down
    assert isinstance(quota.take(large), LimitError)
    assert [quota.take(small) for _ in range(2)] == [small, small]

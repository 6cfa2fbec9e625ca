from typing import Any

from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Shape
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.remote_write.selection import PlanBudget, Selector, read_families
from sidecar.model.remote_write.wire import Metadata, MetricType
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.model.remote_write.test_requests import IDENTITY, sending_rule

_BODY = b'# HELP a What.\n# TYPE a gauge\na{x="1"} 1\n# TYPE b untyped\nb 2\na{x="q\\"\\\\"} 3\n'


def _shape() -> Shape:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)
    return SeriesCache(rewriter, Format.TEXT, Limits()).read(_BODY).shape


def _selector(*patterns: str, **fields: Any) -> Selector[dict[str, str]]:
    return Selector(sending_rule(*patterns, **fields), IDENTITY, dict, weigh=len)


def test_chosen_series_come_with_the_place_of_their_value() -> None:
    chosen = list(_selector("a").choose(_shape(), PlanBudget()))

    assert [(place, labels["x"]) for place, labels in chosen] == [(0, "1"), (2, 'q"\\')]


def test_up_is_sent_where_a_pattern_names_it() -> None:
    assert _selector("a").up() is None
    labels = _selector("up").up()
    assert labels is not None
    assert (labels["__name__"], labels["pod"]) == ("up", "web-0")


def test_a_series_without_a_name_behind_the_rules_is_not_sent() -> None:
    rules = [{"regex": "__name__", "action": "labeldrop"}]
    selector = _selector("a", metricRelabelings=rules)

    assert list(selector.choose(_shape(), PlanBudget())) == []


def test_new_series_are_looked_at_as_far_as_the_budget_goes_and_known_ones_for_nothing() -> None:
    selector, shape = _selector("a", "b"), _shape()
    places = [
        [place for place, _ in selector.choose(shape, PlanBudget(relabelings=2))] for _ in range(3)
    ]

    assert places == [[0, 1], [0, 1, 2], [0, 1, 2]]
    assert selector.is_complete
    assert list(selector.choose(shape, PlanBudget(relabelings=0))) != []


def test_series_for_which_there_is_no_room_are_left_out_and_not_kept() -> None:
    selector = _selector("a", "b")
    chosen = list(selector.choose(_shape(), PlanBudget(room_bytes=12)))

    assert (len(chosen), selector.left_out) == (1, 2)
    assert 0 < selector.size_bytes <= 12
    assert len(list(selector.choose(_shape(), PlanBudget(room_bytes=1000)))) == 3


def test_selectors_that_share_a_budget_share_its_room() -> None:
    budget = PlanBudget(room_bytes=12)
    selectors = [_selector("a", "b") for _ in range(3)]
    for selector in selectors:
        list(selector.choose(_shape(), budget))

    assert sum(selector.size_bytes for selector in selectors) <= 12
    assert budget.room_bytes == 12 - sum(selector.size_bytes for selector in selectors)


def test_families_say_their_types_and_texts() -> None:
    assert read_families(_shape()) == {
        "a": Metadata("a", MetricType.GAUGE, "What."),
        "b": Metadata("b", MetricType.UNKNOWN, ""),
    }


def test_that_series_are_not_sent_is_remembered_within_a_room_of_its_own() -> None:
    selector = _selector("nothing")
    budget = PlanBudget(room_bytes=0, unmatched_bytes=400)
    assert list(selector.choose(_shape(), budget)) == []

    assert (selector.is_complete, selector.left_out, selector.size_bytes) == (True, 0, 0)
    assert 0 < selector.unmatched_bytes <= 400
    assert len(selector._known) == 2
    assert budget.unmatched_bytes == 400 - selector.unmatched_bytes
    list(selector.choose(_shape(), budget))
    assert budget.unmatched_bytes == 400 - selector.unmatched_bytes


def test_how_it_goes_is_said_of_whole_bodies_only() -> None:
    """The event loop reads these counts while a thread selects series."""
    selector = _selector("a", "b")
    assert not selector.has_chosen
    list(selector.choose(_shape(), PlanBudget()))
    before = (dict(selector.matched), selector.size_bytes)
    choosing = selector.choose(_shape(), PlanBudget())
    next(choosing)

    assert (dict(selector.matched), selector.size_bytes) == before

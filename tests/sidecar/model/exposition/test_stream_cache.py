"""The cache of a streamed body."""

import pytest

from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.stream_cache import Bare, Course, StreamCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter

_REWRITER = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)
HEADS = [b"a", b'b{namespace="shop"}', b"# HELP c d"]
TEXTS = [b"\na", b'\nb{namespace="shop"}', b"\n# HELP c d"]
COMMENTS = frozenset(HEADS[2:])


def _cache(limit_bytes: int = 10_000) -> StreamCache:
    cache = StreamCache(_REWRITER, limits=Limits(cache_bytes=limit_bytes))
    cache.keep(HEADS, TEXTS, COMMENTS)
    return cache


def test_a_series_is_known_by_its_head_and_a_piece_of_a_comment_is_not() -> None:
    remembered = _cache().remembered

    assert remembered.known == dict(zip(HEADS[:2], TEXTS[:2], strict=True))
    assert remembered.comments == COMMENTS
    assert not remembered.has_bare


def test_a_dropped_series_is_known_to_leave_no_value() -> None:
    cache = _cache()
    cache.keep([b"a"], [Bare(b"")], frozenset())

    assert cache.remembered.has_bare


@pytest.mark.parametrize("limit_bytes", [0, 100, 600])
def test_beyond_its_bound_nothing_is_remembered(limit_bytes: int) -> None:
    cache = _cache(limit_bytes)

    assert cache.size_bytes == 0
    assert cache.remembered.heads == []


def test_what_a_change_concerns_is_forgotten_and_the_order_with_it() -> None:
    cache = _cache()
    cache.invalidate(_REWRITER, ['"shop"'])

    assert cache.remembered.known == {b"a": b"\na"}
    assert Course(cache.remembered).recall(HEADS[:1], frozenset()) is None


def test_what_a_failed_passage_made_is_added_while_it_fits() -> None:
    cache = _cache()
    cache.add({b"e": b"\ne"}, has_bare=True)
    assert cache.remembered.known[b"e"] == b"\ne"
    assert cache.remembered.has_bare
    before = cache.remembered
    cache.add({b"f" * 10_000: b"\nf"}, has_bare=False)

    assert cache.remembered == before


def test_heads_in_the_last_order_are_recalled_until_something_changes() -> None:
    course = Course(_cache().remembered)

    assert course.recall(HEADS[:1], frozenset()) == TEXTS[:1]
    assert course.recall(HEADS[1:2], frozenset()) == TEXTS[1:2]
    assert course.recall([b"new"], frozenset()) is None
    course.note([b"new"], [b"\nnew"])
    assert course.recall(HEADS[2:], frozenset()) is None


def test_a_piece_of_a_comment_is_never_recalled() -> None:
    assert Course(_cache().remembered).recall(HEADS, COMMENTS) is None


def test_a_body_that_changed_or_ended_early_takes_the_place_of_the_last() -> None:
    cache = _cache()
    course = Course(cache.remembered)
    course.recall(HEADS[:1], frozenset())
    course.keep_in(cache, frozenset())
    assert cache.remembered.heads == HEADS[:1]
    course = Course(cache.remembered)
    course.recall(HEADS[:1], frozenset())
    course.note([b"new"], [b"\nnew"])
    course.keep_in(cache, frozenset())

    assert cache.remembered.heads == [b"a", b"new"]


def test_a_body_like_the_last_changes_nothing() -> None:
    cache = _cache()
    before = cache.remembered
    course = Course(before)
    course.recall(HEADS, frozenset())
    course.keep_in(cache, frozenset())

    assert cache.remembered is before

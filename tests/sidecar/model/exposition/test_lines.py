import pytest

from sidecar.errors import LateError
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import CacheRoom, OwnLines, Shape, SharedLines
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter

_REWRITER = SeriesRewriter(
    SeriesPolicy(labels={"team": "blue"}), RewriteContext(), Escaping.ALLOW_UTF8
)


def _body(start: int, count: int = 100, value: int = 1) -> bytes:
    return b"".join(b'a{b="%d"} %d\n' % (start + row, value) for row in range(count))


def _caches(store: SharedLines, count: int) -> list[SeriesCache]:
    return [SeriesCache(_REWRITER, Format.TEXT, Limits(), store) for _ in range(count)]


def test_replicas_share_one_shape() -> None:
    one, two = _caches(SharedLines(CacheRoom(1 << 20)), 2)

    first, second = one.read(_body(0)), two.read(_body(0, value=7))

    assert first.shape is second.shape
    assert first.tails != second.tails


def test_a_hundred_replicas_are_kept_as_one() -> None:
    alone, shared = SharedLines(CacheRoom(1 << 30)), SharedLines(CacheRoom(1 << 30))
    _caches(alone, 1)[0].read(_body(0))
    caches = _caches(shared, 100)
    for cache in caches:
        cache.read(_body(0))

    assert shared.size_bytes == alone.size_bytes


def test_pods_with_one_series_of_their_own_share_the_others() -> None:
    alone, shared = SharedLines(CacheRoom(1 << 30)), SharedLines(CacheRoom(1 << 30))
    _caches(alone, 1)[0].read(_body(0))
    caches = _caches(shared, 10)
    for number, cache in enumerate(caches):
        cache.read(_body(0) + b'own{number="%d"} 1\n' % number)

    assert shared.size_bytes < 5 * alone.size_bytes


def test_equal_heads_with_another_end_are_another_shape() -> None:
    one, two = _caches(SharedLines(CacheRoom(1 << 20)), 2)

    assert one.read(b"a 1\n").shape is not two.read(b"a 1\n# HELP b\n").shape


def test_what_no_pod_has_any_more_makes_room() -> None:
    room = CacheRoom(200_000)
    store = SharedLines(room)
    (cache,) = _caches(store, 1)
    for scrape in range(20):
        reading = cache.read(_body(scrape * 1000))
        assert reading.samples == 100
        assert room.left_bytes >= 0
    assert set(store.entries) >= {entry.text for entry in reading.entries}


def test_where_there_is_no_room_nothing_is_kept_and_all_is_read() -> None:
    room = CacheRoom(1000)
    one, two = _caches(SharedLines(room), 2)

    assert one.read(_body(0)).samples == two.read(_body(0)).samples == 100
    assert room.left_bytes == 1000


def test_several_stores_share_the_room() -> None:
    room = CacheRoom(100_000)
    one, two = SharedLines(room), SharedLines(room)
    _caches(one, 1)[0].read(_body(0))
    kept = room.left_bytes
    held = _caches(two, 1)[0]
    held.read(_body(0))

    assert one.size_bytes + two.size_bytes + room.left_bytes == 100_000
    assert room.left_bytes < kept
    one.close()
    assert (one.size_bytes, two.size_bytes + room.left_bytes) == (0, 100_000)


def test_what_was_read_before_the_time_was_up_is_found_next_time() -> None:
    store = SharedLines(CacheRoom(1 << 20))
    (cache,) = _caches(store, 1)
    asked = iter(range(1000))

    with pytest.raises(LateError):
        cache.read(_body(0), lambda: next(asked) == 50)

    assert len(store.entries) == 50
    assert cache.read(_body(0), lambda: False).samples == 100


def test_a_parse_changes_nothing_that_others_share() -> None:
    store = SharedLines(CacheRoom(1 << 20))
    (cache,) = _caches(store, 1)

    parsed = cache.parse(_body(0))
    assert (store.entries, store.size_bytes) == ({}, 0)

    assert cache.keep(parsed).shape is parsed.shape
    assert len(store.entries) == 100


def test_an_own_store_has_the_last_body_alone() -> None:
    store = OwnLines(1 << 20)
    cache = SeriesCache(_REWRITER, Format.TEXT, Limits(), store)
    cache.read(_body(0))
    cache.read(_body(1000, 10))

    assert set(store.entries) == {b'a{b="%d"}' % number for number in range(1000, 1010)}


def test_a_shape_counts_series_and_what_is_no_value() -> None:
    (cache,) = _caches(SharedLines(CacheRoom(1 << 20)), 1)
    shape: Shape = cache.read(b"# HELP a since 5\na 1\n# end\n").shape

    assert shape.samples == 1
    assert shape.head_bytes == len(b"# HELP a since 5\na 1\n# end\n") - len(b" 5\n 1\n")

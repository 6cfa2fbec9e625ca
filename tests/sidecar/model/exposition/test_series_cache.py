import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ExpositionError, LateError, LimitError
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Line
from sidecar.model.exposition.merge import plan_merge
from sidecar.model.exposition.parser import MAX_COMMENT_LINES
from sidecar.model.exposition.samples import Comment, Series
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.model.bodies import lines

_REWRITING = SeriesRewriter(
    SeriesPolicy(labels={"team": "blue"}), RewriteContext(), Escaping.ALLOW_UTF8
)
_MIB = 1 << 20


class _Dropping:
    """Drops every series named `a`."""

    def series(self, series: Series) -> Line | None:
        return None if series.name == b"a" else _REWRITING.series(series)

    def comment(self, comment: Comment) -> Comment:
        return comment


class _Counting:
    """Counts the series that it rewrites."""

    def __init__(self) -> None:
        self.count = 0

    def series(self, series: Series) -> Line | None:
        self.count += 1
        return _REWRITING.series(series)

    def comment(self, comment: Comment) -> Comment:
        return comment


class _Exact(SeriesCache):
    """A cache that reads every body sample by sample."""

    def _look_up(self, *_: object) -> None:
        return None


def _cache(fmt: Format = Format.TEXT, limits: Limits = Limits()) -> SeriesCache:  # noqa: B008
    return SeriesCache(_REWRITING, fmt, limits)


def _answer(cache: SeriesCache, body: bytes, fmt: Format) -> tuple[bytes, int] | str:
    try:
        reading = cache.read(body)
    except ExpositionError as error:
        return str(error)
    return plan_merge([reading], fmt).render(reading.tails), reading.samples


@st.composite
def _scrapes(draw: st.DrawFn, fmt: Format) -> list[bytes]:
    """Bodies of one target: lines from a small pool that come, go and change places."""
    pool = draw(st.lists(lines(fmt), min_size=1, max_size=6))
    scrape = st.lists(st.sampled_from(pool), max_size=8).map(b"".join)
    ends = [b""] if fmt is Format.TEXT else [b"# EOF\n", b"# EOF\n", b"# EOF"]
    end = st.sampled_from(ends)
    return draw(st.lists(st.builds(bytes.__add__, scrape, end), min_size=1, max_size=5))


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("rewriter", [_REWRITING, _Dropping()], ids=["labelling", "dropping"])
@given(data=st.data())
def test_what_is_remembered_changes_no_answer(
    data: st.DataObject, rewriter: SeriesRewriter | _Dropping, fmt: Format
) -> None:
    limits = Limits(samples=7, labels=2, cache_bytes=4_000)
    cache = SeriesCache(rewriter, fmt, limits)
    for body in data.draw(_scrapes(fmt)):
        exactly = _answer(_Exact(rewriter, fmt, limits), body, fmt)

        assert _answer(cache, body, fmt) == exactly
        assert cache.size_bytes <= limits.cache_bytes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"b 2\na 1", b"b 2\na 1\na 1"),
        (b"a  1\n", b"a 1\n"),
        (b"a infinity\nb 1\n", b"a 1\nb 1\n"),
        (b'a{b="x 1\n"} 1\n', b'a{b="x 2\n"} 1\n'),
        (b"# HELP a 1\na 1\n", b"# HELP a 2\na 2\n"),
        (b"# free 1\na 1\n", b"# free 2\na 1\n"),
        (b"a 1\n# end", b"a 1\n# end"),
        (b"a 1\n", b" 1\n"),
        (b"a 1\n", b"# HELP 1\na 1\n"),
        (b"# TYPE a gauge\na 1\n", b"# TYPE a 1\na 1\n"),
        (b"a 1\nb 1\n", b"b 1\na 1\n"),
        (b"a 1\n", b""),
    ],
)
def test_a_second_scrape_is_read_as_if_it_were_the_first(before: bytes, after: bytes) -> None:
    cache = _cache()
    cache.read(before)

    assert _answer(cache, after, Format.TEXT) == _answer(_cache(), after, Format.TEXT)


def test_the_same_entries_come_back_while_only_values_change() -> None:
    cache = _cache()
    first = cache.read(b'a{b="c"} 1\nb 2 7\n')

    second = cache.read(b'a{b="c"} 1.5\nb NaN\n')

    assert second.entries is first.entries
    assert second.tails == [b" 1.5\n", b" NaN\n"]


def test_a_line_is_rewritten_once() -> None:
    cache = _cache()
    first = cache.read(b"a 1\nb 1\n")

    second = cache.read(b"c 1\nb 2\n")

    assert second.entries[1] is first.entries[1]


def test_an_error_leaves_the_memory_of_the_last_good_scrape() -> None:
    cache = _cache()
    first = cache.read(b"a 1\n")
    with pytest.raises(ExpositionError):
        cache.read(b"a x\n")

    assert cache.read(b"a 2\n").entries is first.entries


def test_memory_stays_below_its_limit_when_every_series_changes() -> None:
    cache = _cache(limits=Limits(cache_bytes=100_000))
    for scrape in range(5):
        cache.read(b"".join(b'a{b="%d"} 1\n' % (scrape * 1000 + row) for row in range(100)))
        assert 0 < cache.size_bytes <= 100_000


def test_what_would_pass_the_memory_limit_is_not_remembered() -> None:
    cache = _cache(limits=Limits(cache_bytes=1000))
    body = b"".join(b'a{b="%d"} 1\n' % row for row in range(100))

    assert cache.read(body).samples == 100
    assert cache.size_bytes == 0


@pytest.mark.parametrize(
    "line", [b'a{b="%d"} 1\n', b"# HELP a%d b\na 1\n", b"a%d 1\n", b'a{b="%0200d"} 1\n']
)
def test_counted_bytes_cover_what_the_interpreter_holds(line: bytes) -> None:
    cache = _cache()
    body = b"".join(line % row for row in range(5000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cache.read(body)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert held <= cache.size_bytes <= 4 * held


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize(
    "piece",
    [b'"', b"{", b" ", b"\\", b"#\n", b"\n", b"a{", b" 1\n", b"a 1\n", b"# a 1\n", b"#\na 1\n",
     b'a{b="x 1\n"} 1\n', b'{"', b' 1 # {a="', b"\xff"],
)  # fmt: skip
def test_a_hostile_body_costs_little_memory(piece: bytes, fmt: Format) -> None:
    body = piece * (2 * _MIB // len(piece))
    cache = _cache(fmt, Limits(samples=5_000))
    tracemalloc.start()
    try:
        _answer(cache, body, fmt)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # The body may be split into one part per allowed sample and comment line.
    assert peak < 60 * _MIB


def test_too_many_samples_are_refused() -> None:
    cache = _cache(limits=Limits(samples=3))

    assert cache.read(b"a 1\n" * 3).samples == 3
    with pytest.raises(LimitError, match="more than 3 samples"):
        cache.read(b"a 1\n" * 4)


def test_too_many_labels_are_refused_where_empty_ones_are_not_counted() -> None:
    cache = _cache(limits=Limits(labels=1))

    cache.read(b'a{b="",c="x",d=""} 1\n')
    with pytest.raises(LimitError, match="a series of 'a' has 2 labels; 1 are allowed"):
        cache.read(b'a{b="x",c="y"} 1\n')


def test_comments_count_over_the_whole_body() -> None:
    limits = Limits(samples=MAX_COMMENT_LINES)
    cache = _cache(limits=limits)

    with pytest.raises(LimitError, match=f"more than {MAX_COMMENT_LINES} comment lines"):
        cache.read(b"#\n#\na 1\n" * (MAX_COMMENT_LINES // 2 + 1))


@pytest.mark.parametrize("body", [b"a 1\nb 2\nc 3\n", b"a 1e-300\nb 2\nc 3\n"])
def test_a_read_out_of_time_goes_on_where_it_stopped(body: bytes) -> None:
    seen = _Counting()
    cache = SeriesCache(seen, Format.TEXT, Limits())
    answers = iter([False, False, True])

    with pytest.raises(LateError, match="the rules processed only 2 samples"):
        cache.read(body, lambda: next(answers))

    assert seen.count == 2
    assert cache.read(body).samples == 3
    assert seen.count == 3


def test_what_a_read_out_of_time_leaves_stays_below_the_memory_limit() -> None:
    cache = _cache(limits=Limits(cache_bytes=2_000))
    answers = iter([False] * 100 + [True])

    with pytest.raises(LateError):
        cache.read(b"".join(b"a%d 1\n" % i for i in range(200)), lambda: next(answers))

    assert 1_000 < cache.size_bytes <= 2_000

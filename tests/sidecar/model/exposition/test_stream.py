"""Labelling of streamed text: the same result for any chunks and any earlier bodies."""

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ExpositionError, LateError, LimitError
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Line, Rewriter
from sidecar.model.exposition.parser import scan
from sidecar.model.exposition.samples import Comment, Series
from sidecar.model.exposition.stream import MAX_CARRY_BYTES, StreamRewriter
from sidecar.model.exposition.stream_cache import StreamCache
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.model.bodies import lines

_POLICY = SeriesPolicy(namespaces={"shop": {"team": "frontend"}, "bank": {"team": "payments"}})
_LABELLING = SeriesRewriter(
    _POLICY, RewriteContext(namespace_label="namespace"), Escaping.ALLOW_UTF8
)
_DROPPING = SeriesRewriter(
    SeriesPolicy(relabelings=parse_rules([{"sourceLabels": ["__name__"], "regex": "a|.*b",
                                     "action": "drop"}], "rules")),
    RewriteContext(), Escaping.ALLOW_UTF8,
)  # fmt: skip
CADVISOR = b"""\
# HELP container_last_seen Last time a container was seen
# TYPE container_last_seen gauge
container_last_seen{container="",id="/",namespace="",pod=""} 1.7e+09 1700000000000
container_last_seen{container="web",id="/x",namespace="shop",pod="web-0"} 1.7e+09 1700000000001
# HELP container_oom_events_total Events counted up to 5 6
# TYPE container_oom_events_total counter
container_oom_events_total{container="web",namespace="bank"} 0 1700000000000
machine_memory_bytes 25 1700000000000
"""
LABELLED = b"""\
# HELP container_last_seen Last time a container was seen
# TYPE container_last_seen gauge
container_last_seen{container="",id="/",namespace="",pod=""} 1.7e+09
container_last_seen{container="web",id="/x",namespace="shop",pod="web-0",team="frontend"} 1.7e+09
# HELP container_oom_events_total Events counted up to 5 6
# TYPE container_oom_events_total counter
container_oom_events_total{container="web",namespace="bank",team="payments"} 0
machine_memory_bytes 25
"""


def _pass(cache: StreamCache, parts: list[bytes]) -> bytes:
    stream = StreamRewriter(cache)
    return b"".join(map(stream.feed, parts)) + stream.finish()


def _answer(cache: StreamCache, parts: list[bytes]) -> bytes | str:
    try:
        return _pass(cache, parts)
    except ExpositionError:
        return "refused"


def _divided(body: bytes, places: list[int]) -> list[bytes]:
    cuts = [0, *sorted({place % (len(body) + 1) for place in places}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(cuts)]


def _slowly(body: bytes, rewriter: Rewriter, *, keeps_timestamps: bool) -> bytes | str:
    """The expected result, computed sample by sample without a cache."""
    written: list[bytes] = []
    rows = scan(body, Format.TEXT)
    try:
        while True:
            sample = next(rows)
            written += [rewriter.comment(item).raw for item in sample.head.comments]
            if sample.head.series is None:
                written.append(sample.tail)
                continue
            line = rewriter.series(sample.head.series)
            value, *rest = sample.tail.split()
            if line is not None:
                stamp = b" " + rest[0] if rest and keeps_timestamps else b""
                written.append(b"%b %b%b\n" % (line.text, value, stamp))
    except StopIteration as stop:
        written += [rewriter.comment(item).raw for item in stop.value]
    except ExpositionError:
        return "refused"
    return b"".join(written)


def _normal(answer: bytes | str) -> bytes | str:
    """Normalize insignificant blanks between series and value, and at the end."""
    if isinstance(answer, str):
        return answer
    return re.sub(rb"[ \t]+(?=[^ \t\n]+( [^ \t\n]+)?\n)", b" ", answer).rstrip(b"\n")


def test_a_node_s_text_wears_its_namespaces_labels() -> None:
    cache = StreamCache(_LABELLING)

    assert _pass(cache, [CADVISOR]) == LABELLED
    assert _pass(cache, [CADVISOR]) == LABELLED


def test_timestamps_stay_where_they_are_wanted() -> None:
    cache = StreamCache(_LABELLING, keeps_timestamps=True)

    assert b'pod=""} 1.7e+09 1700000000000\n' in _pass(cache, [CADVISOR])


@given(places=st.lists(st.integers(0, 1000), max_size=12))
def test_where_the_text_is_cut_changes_nothing(places: list[int]) -> None:
    assert _pass(StreamCache(_LABELLING), _divided(CADVISOR, places)) == LABELLED


@pytest.mark.parametrize("rewriter", [_LABELLING, _DROPPING], ids=["labelling", "dropping"])
@pytest.mark.parametrize("keeps_timestamps", [False, True])
@given(data=st.data())
def test_what_is_remembered_and_how_it_is_cut_change_no_answer(
    data: st.DataObject, rewriter: SeriesRewriter, keeps_timestamps: bool
) -> None:
    pool = data.draw(st.lists(lines(Format.TEXT), min_size=1, max_size=6))
    cache = StreamCache(rewriter, keeps_timestamps=keeps_timestamps)
    for _ in range(data.draw(st.integers(1, 4))):
        body = b"".join(data.draw(st.lists(st.sampled_from(pool), max_size=8)))
        expected = _slowly(body, rewriter, keeps_timestamps=keeps_timestamps)
        whole = _answer(cache, [body])
        assert _normal(whole) == _normal(expected)
        places = data.draw(st.lists(st.integers(0, len(body)), max_size=4))
        fresh = StreamCache(rewriter, keeps_timestamps=keeps_timestamps)
        assert _normal(_answer(fresh, _divided(body, places))) == _normal(expected)
        assert _normal(_answer(cache, _divided(body, places))) == _normal(expected)


@pytest.mark.parametrize("place", range(1, 60))
def test_a_line_end_within_quotes_is_read_alike_wherever_the_text_is_cut(place: int) -> None:
    body = b'# HELP a "quoted" 5\na{x="one 5\ntwo 6\n",namespace="shop"} 7\nb{y="\\\\" } 8\n'

    answer = _pass(StreamCache(_LABELLING), _divided(body, [place]))

    assert answer == _pass(StreamCache(_LABELLING), [body])
    assert b'team="frontend"} 7\n' in answer


@pytest.mark.parametrize("place", range(1, 40))
def test_a_line_end_within_the_name_of_a_comment_is_read_alike(place: int) -> None:
    body = b'# HELP "x 1\n" 2\n# TYPE "y 3\n z" gauge\n# a " 4\na{x="b 5\n"} 6\n# HELP " 1\n"x"'

    answer = _pass(StreamCache(_LABELLING), _divided(body, [place]))

    assert answer == _slowly(body, _LABELLING, keeps_timestamps=False)


def test_quotes_without_an_end_are_an_error_in_the_end() -> None:
    with pytest.raises(ExpositionError):
        _pass(StreamCache(_LABELLING), [b'a{x="one 5\n', b"two 6\n"])
    with pytest.raises(LimitError, match="without the end of a sample"):
        _pass(StreamCache(_LABELLING), [b'a{x="', *[b"%d 5\n" % n * 10_000 for n in range(60)]])


def test_a_series_that_comes_or_goes_costs_no_other_its_labels() -> None:
    cache = StreamCache(_LABELLING)
    rows = [b'a{namespace="shop",i="%d"} %d\n' % (i, i) for i in range(100)]
    for missing in (None, 0, 50, 99, None):
        body = b"".join(row for i, row in enumerate(rows) if i != missing)
        answer = _pass(cache, _divided(body, [700, 1500, 2000]))
        assert answer == body.replace(b'"} ', b'",team="frontend"} ')


def test_a_comment_that_ends_in_a_number_may_get_a_second_one() -> None:
    cache = StreamCache(_LABELLING)
    for end in (b"5", b"5", b"5 6", b"5"):
        body = b"# HELP a counted to %b\na 1\n" % end
        assert _pass(cache, [body]) == body


def test_a_line_that_is_none_ends_the_passage_and_leaves_the_memory() -> None:
    cache = StreamCache(_LABELLING)
    _pass(cache, [CADVISOR])
    stream = StreamRewriter(cache)
    stream.feed(CADVISOR[: CADVISOR.index(b"machine")])
    with pytest.raises(ExpositionError, match="a wrong line"):
        stream.feed(b"a wrong line\nb 1\n")

    assert _pass(cache, [CADVISOR]) == LABELLED


def test_a_body_that_breaks_off_within_a_line_is_refused() -> None:
    with pytest.raises(ExpositionError):
        _pass(StreamCache(_LABELLING), [b'a 1\nb{c="d'])


def test_a_change_of_one_namespace_leaves_what_is_known_of_others() -> None:
    counting = _Counting()
    cache = StreamCache(counting)
    _pass(cache, [CADVISOR])
    changed = replace(_POLICY, namespaces={**(_POLICY.namespaces or {}), "shop": {"team": "new"}})
    after = _Counting(
        SeriesRewriter(changed, RewriteContext(namespace_label="namespace"), Escaping.ALLOW_UTF8)
    )
    cache.invalidate(after, ['"shop"'])

    assert _pass(cache, [CADVISOR]) == LABELLED.replace(b"frontend", b"new")
    assert (counting.count, after.count) == (4, 1)
    cache.invalidate(
        _Counting(SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)),
        ['"shop"', '"bank"'],
    )
    assert b"team" not in _pass(cache, [CADVISOR])


def test_a_passage_under_an_older_policy_ends_under_it_and_leaves_nothing() -> None:
    cache = StreamCache(_LABELLING)
    _pass(cache, [CADVISOR])
    stream = StreamRewriter(cache)
    begun = stream.feed(CADVISOR[:300])
    bare = SeriesRewriter(
        SeriesPolicy(namespaces={}), RewriteContext(namespace_label="namespace"), Escaping.DOTS
    )
    cache.invalidate(bare, ['"shop"', '"bank"'])

    assert begun + stream.feed(CADVISOR[300:]) + stream.finish() == LABELLED
    assert b"team" not in _pass(cache, [CADVISOR])


def test_what_was_made_before_a_passage_failed_is_not_made_again() -> None:
    counting = _Counting()
    cache = StreamCache(counting)
    stream = StreamRewriter(cache)
    stream.feed(CADVISOR)
    stream.leave()

    assert _pass(cache, [CADVISOR]) == LABELLED
    assert counting.count == 4


def test_comments_are_no_samples() -> None:
    stream = StreamRewriter(StreamCache(_LABELLING))
    stream.feed(b"# HELP a up to 5\na 1\n")

    assert stream.samples == 1


class _Counting:
    """Counts the series that it rewrites."""

    def __init__(self, rewriter: SeriesRewriter = _LABELLING) -> None:
        self._rewriter = rewriter
        self.count = 0

    def series(self, series: Series) -> Line | None:
        self.count += 1
        return self._rewriter.series(series)

    def comment(self, comment: Comment) -> Comment:
        return self._rewriter.comment(comment)


def test_two_passages_at_once_do_not_mix() -> None:
    cache = StreamCache(_LABELLING)
    first, second = StreamRewriter(cache), StreamRewriter(cache)
    one = first.feed(CADVISOR[:300])
    two = second.feed(b"z 1\n" + CADVISOR[:300])
    two += second.feed(CADVISOR[300:]) + second.finish()
    one += first.feed(CADVISOR[300:]) + first.finish()

    assert one == LABELLED
    assert two == b"z 1\n" + LABELLED
    assert _pass(cache, [CADVISOR]) == LABELLED


def test_bounds_are_named() -> None:
    limits = Limits(samples=2, labels=1, cache_bytes=1 << 20, lines_bytes=1 << 20)
    with pytest.raises(LimitError, match="more than 2 samples"):
        _pass(StreamCache(_LABELLING, limits=limits), [b"a 1\nb 1\nc 1\n"])
    with pytest.raises(LimitError, match="2 labels; 1 are allowed"):
        _pass(StreamCache(_LABELLING, limits=limits), [b'a{b="c",d="e"} 1\n'])
    with pytest.raises(LimitError, match="without the end of a sample"):
        _pass(StreamCache(_LABELLING), [b"a" * (MAX_CARRY_BYTES + 1)])
    stream = StreamRewriter(StreamCache(_LABELLING), lambda: True)
    with pytest.raises(LateError):
        stream.feed(b"a 1\n")


def test_what_passes_the_memory_s_bound_is_not_remembered() -> None:
    limits = Limits(cache_bytes=1000)
    cache = StreamCache(_LABELLING, limits=limits)
    body = b"".join(b"a%d 1\n" % i for i in range(100))

    assert _pass(cache, [body]) == body
    assert (cache.size_bytes, cache.remembered.known) == (0, {})
    assert _pass(cache, [body]) == body


def test_a_series_that_cannot_be_told_is_left_out_and_counted_once() -> None:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.UNDERSCORES)
    cache = StreamCache(rewriter)
    body = b'a 1\n{"m","a.b"="1","a-b"="2"} 2\nb 3\n'
    counts = []
    for _ in range(2):
        stream = StreamRewriter(cache)
        assert stream.feed(body) + stream.finish() == b"a 1\nb 3\n"
        counts.append(stream.left_out)

    assert counts == [1, 0]

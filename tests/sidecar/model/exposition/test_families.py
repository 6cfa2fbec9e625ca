from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.errors import ExpositionError
from sidecar.model.exposition import families
from sidecar.model.exposition.families import FamilyPlan, Marks, Row, write_marks, write_prefix
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import CacheRoom, SharedLines
from sidecar.model.exposition.merge import MergeError
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.real_parts.oracle import Oracle
from tests.sidecar.model.bodies import bodies, regular_bodies
from tests.sidecar.model.reading import Row as Read
from tests.sidecar.model.reading import read, told

_NOTHING = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)


def _rows(texts: Sequence[bytes], rewriter: SeriesRewriter = _NOTHING) -> list[Row]:
    store = SharedLines(CacheRoom(1 << 30))
    caches = [SeriesCache(rewriter, Format.TEXT, Limits(), store) for _ in texts]
    return [
        Row(Marks.of(((b"ns", b"shop"), (b"pod_name", b"web-%d" % number))), cache.read(text))
        for number, (cache, text) in enumerate(zip(caches, texts, strict=True))
    ]


def _plan(rows: Sequence[Row], *, keeps: bool = False) -> FamilyPlan:
    shapes = list(dict.fromkeys(row.reading.shape for row in rows))
    names = [b"ns", b"pod_name"]
    return FamilyPlan(shapes, mark_names=names, keeps=keeps)


def _merge(texts: Sequence[bytes], *, keeps: bool = False) -> bytes:
    rows = _rows(texts)
    return b"".join(_plan(rows, keeps=keeps).render(rows))


def _series(rows: list[Read] | str, extra: list[tuple[str, str]]) -> list[str]:
    assert isinstance(rows, list), rows
    return [
        repr((row[1], sorted([*row[2], *extra]), *row[3:])) for row in rows if row[0] == "series"
    ]


def _marked(texts: Sequence[bytes], oracle: Oracle) -> list[str]:
    return sorted(
        row
        for number, text in enumerate(texts)
        for row in _series(
            told(oracle.parse(text)), [("ns", "shop"), ("pod_name", f"web-{number}")]
        )
    )


@given(data=st.data())
def test_any_pods_series_stand_in_the_answer_with_the_pods_labels(
    data: st.DataObject, oracle: Oracle
) -> None:
    body = data.draw(bodies(Format.TEXT))
    assume(not isinstance(read(body, Format.TEXT), str))
    other = data.draw(regular_bodies(Format.TEXT))[0]
    texts = [body, other, body]

    parsed = oracle.parse(_merge(texts))

    assert sorted(_series(told(parsed), [])) == _marked(texts, oracle)


@given(texts=regular_bodies(targets=3))
def test_each_family_has_one_header_and_its_samples_stand_together(
    texts: list[bytes], oracle: Oracle
) -> None:
    parsed = oracle.parse(_merge([*texts, *texts]))

    headers = [(item["kind"], item["name"]) for item in parsed.entries if item["kind"] != "series"]
    assert sorted(_series(told(parsed), [])) == _marked([*texts, *texts], oracle)
    assert len(headers) == len(set(headers))


@given(texts=regular_bodies(targets=2), size=st.integers(1, 50))
def test_an_answer_is_the_same_in_whatever_chunks(texts: list[bytes], size: int) -> None:
    rows = _rows([*texts, *texts, *texts])
    plan = _plan(rows)
    whole = b"".join(plan.render(rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "CHUNK_BYTES", size)
        chunks = list(plan.render(rows))

    assert b"".join(chunks) == whole
    assert all(chunks)


def test_a_familys_samples_stand_pod_by_pod() -> None:
    text = b'# TYPE h histogram\nh_bucket{le="1"} %d\nh_count %d\n# TYPE g gauge\ng %d\n'

    assert _merge([text % (1, 2, 3), text % (4, 5, 6)]) == (
        b"# TYPE h histogram\n"
        b'h_bucket{le="1",ns="shop",pod_name="web-0"} 1\nh_count{ns="shop",pod_name="web-0"} 2\n'
        b'h_bucket{le="1",ns="shop",pod_name="web-1"} 4\nh_count{ns="shop",pod_name="web-1"} 5\n'
        b'# TYPE g gauge\ng{ns="shop",pod_name="web-0"} 3\ng{ns="shop",pod_name="web-1"} 6\n'
    )


def test_families_without_a_type_stand_apart_too() -> None:
    assert _merge([b"a 1\nb 1\n", b"a 2\nb 2\n"]) == (
        b'a{ns="shop",pod_name="web-0"} 1\na{ns="shop",pod_name="web-1"} 2\n'
        b'b{ns="shop",pod_name="web-0"} 1\nb{ns="shop",pod_name="web-1"} 2\n'
    )


def test_a_comment_that_ends_like_a_value_stays_a_comment() -> None:
    body = b"# HELP a since 1970 5\n# TYPE a gauge\na 1\n"

    assert _merge([body, body]).startswith(b"# HELP a since 1970 5\n# TYPE a gauge\na{")


def test_what_a_type_makes_of_a_bucket_it_makes_in_the_answer(oracle: Oracle) -> None:
    texts = [b"# TYPE h counter\nh 1\n", b'# TYPE h histogram\nh_bucket{le="1"} 1\n']

    parsed = oracle.parse(_merge(texts))

    assert sorted(_series(told(parsed), [])) == _marked(texts, oracle)


def test_a_dropped_series_takes_its_value_with_it() -> None:
    rule = {"sourceLabels": ["__name__"], "regex": "b", "action": "drop"}
    policy = parse_pod_policy({"metricRelabelings": [rule]}).series
    rewriter = SeriesRewriter(policy, RewriteContext(), Escaping.ALLOW_UTF8)
    rows = _rows([b"a 1\nb 2\nc 3\n"] * 2, rewriter)

    answer = b"".join(_plan(rows).render(rows))

    assert [line.rpartition(b" ")[2] for line in answer.splitlines()] == [b"1", b"1", b"3", b"3"]
    assert b"b{" not in answer


def test_a_shape_whose_series_rules_made_equal_is_named() -> None:
    policy = parse_pod_policy({"metricRelabelings": [{"action": "labeldrop", "regex": "x"}]})
    rewriter = SeriesRewriter(policy.series, RewriteContext(), Escaping.ALLOW_UTF8)
    rows = _rows([b"a 1\n", b'a{x="1"} 1\na{x="2"} 1\n'], rewriter)

    with pytest.raises(MergeError) as caught:
        _plan(rows)

    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'a{ns="x"} 1\n', b'a{ns="x",pod_name="web-0"} 1\n'),
        (b'a{ns="x",} 1\n', b'a{ns="x",pod_name="web-0"} 1\n'),
        (b'a{pod_name="p",q="r"} 1\n', b'a{pod_name="p",q="r",ns="shop"} 1\n'),
        (b'a{ns="x",pod_name="p"} 1\n', b'a{ns="x",pod_name="p"} 1\n'),
        (b'a{b="ns"} 1\n', b'a{b="ns",ns="shop",pod_name="web-0"} 1\n'),
        (b'a{ns="",b="c",pod_name=""} 1\n', b'a{b="c",ns="shop",pod_name="web-0"} 1\n'),
        (b'a{ns="",pod_name="p"} 1\n', b'a{pod_name="p",ns="shop"} 1\n'),
    ],
)
def test_a_label_that_is_kept_takes_the_place_of_ours(body: bytes, line: bytes) -> None:
    assert _merge([body], keeps=True) == line


def test_of_pods_that_keep_equal_series_the_first_has_them() -> None:
    texts = [b'a{ns="x",pod_name="p"} 1\nb 1\n', b'a{ns="x",pod_name="p"} 2\nb 2\n']
    rows = _rows([*texts, b'a{ns="x",pod_name="p"} 3\n'])
    plan = _plan(rows, keeps=True)

    answer = b"".join(plan.render(rows))

    assert answer == (
        b'a{ns="x",pod_name="p"} 1\n'
        b'b{ns="shop",pod_name="web-0"} 1\nb{ns="shop",pod_name="web-1"} 2\n'
    )


def test_equal_series_are_known_in_whatever_order_their_labels_stand() -> None:
    texts = [b'a{ns="x",pod_name="p"} 1\n', b'a{pod_name="p",ns="x"} 2\n', b'a{pod_name="q"} 3\n']
    rows = _rows([*texts, b'a{pod_name="q"} 4\n'])

    answer = b"".join(_plan(rows, keeps=True).render(rows))

    assert answer == b'a{ns="x",pod_name="p"} 1\na{pod_name="q",ns="shop"} 3\n'


def test_without_pods_there_is_no_text() -> None:
    assert b"".join(FamilyPlan(()).render(())) == b""


@pytest.mark.parametrize(
    ("series", "prefix"),
    [
        (b"a", b"a{"),
        (b"a{}", b"a{"),
        (b"a{ }", b"a{ "),
        (b'a{b="c"}', b'a{b="c",'),
        (b'a{b="c",}', b'a{b="c",'),
        (b'a {b="c" , }', b'a {b="c" , '),
        (b'{"my.metric"}', b'{"my.metric",'),
    ],
)
def test_a_series_is_cut_where_further_labels_go(series: bytes, prefix: bytes) -> None:
    assert write_prefix(series) == prefix


def test_marks_close_the_labels() -> None:
    marks = ((b"a", b"1"), (b"b", b"2"))

    assert write_marks(marks) == b'a="1",b="2"}'
    assert write_marks(marks, frozenset([b"a"])) == b',b="2"}'
    assert write_marks(marks, frozenset([b"a", b"b"])) == b"}"


def test_a_body_that_is_refused_is_in_no_plan() -> None:
    with pytest.raises(ExpositionError):
        _rows([b"a x\n"])

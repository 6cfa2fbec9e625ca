import base64

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.errors import ExpositionError
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import Reading
from sidecar.model.exposition.merge import MergeError, MergePlan, plan_merge
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.real_parts.oracle import Oracle
from tests.sidecar.model.bodies import bodies, regular_bodies
from tests.sidecar.model.reading import Row, read, told

_NOTHING = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)
_TEAM = SeriesRewriter(
    SeriesPolicy(labels={"zz_team": 'b"l\\ue'}), RewriteContext(), Escaping.ALLOW_UTF8
)


def _readings(
    texts: list[bytes], fmt: Format, rewriter: SeriesRewriter = _NOTHING
) -> list[Reading]:
    return [SeriesCache(rewriter, fmt, Limits()).read(text) for text in texts]


def _merge(
    texts: list[bytes], fmt: Format = Format.TEXT, rewriter: SeriesRewriter = _NOTHING
) -> bytes:
    readings = _readings(texts, fmt, rewriter)
    return plan_merge(readings, fmt).render(
        [tail for reading in readings for tail in reading.tails]
    )


def _series(rows: list[Row] | str, extra: list[tuple[str, str]]) -> list[Row]:
    assert isinstance(rows, list)
    return sorted(
        (repr((row[1], sorted([*row[2], *extra]), *row[3:])),) for row in rows if row[0] == "series"
    )


@pytest.mark.parametrize("fmt", Format)
@given(data=st.data())
def test_a_regular_body_without_a_policy_stays_byte_for_byte(
    data: st.DataObject, fmt: Format
) -> None:
    (body,) = data.draw(regular_bodies(fmt))

    assert _merge([body], fmt) == body


@pytest.mark.parametrize("fmt", Format)
@given(data=st.data())
def test_any_answer_is_the_body_and_the_labels(
    data: st.DataObject, fmt: Format, oracle: Oracle
) -> None:
    body = data.draw(bodies(fmt))
    before = read(body, fmt)
    assume(not isinstance(before, str))
    assert not isinstance(before, str)  # for mypy
    after = told(oracle.parse(_merge([body], fmt, _TEAM), fmt.value))

    assert _series(after, []) == _series(before, [("zz_team", 'b"l\\ue')])


@given(texts=regular_bodies(targets=2))
def test_an_answer_arranged_again_stays_as_it_is(texts: list[bytes]) -> None:
    once = _merge(texts)

    assert _merge([once]) == once


@pytest.mark.parametrize("fmt", Format)
@given(data=st.data())
def test_merged_targets_are_accepted_and_complete(
    data: st.DataObject, fmt: Format, oracle: Oracle
) -> None:
    texts = data.draw(regular_bodies(fmt, targets=3))
    merged = _merge(texts, fmt)
    parsed = oracle.parse(merged, fmt.value)

    headers = [
        (entry["kind"], entry["name"]) for entry in parsed.entries if entry["kind"] != "series"
    ]
    assert _series(told(parsed), []) == sorted(
        row for text in texts for row in _series(told(oracle.parse(text, fmt.value)), [])
    )
    assert len(headers) == len(set(headers))


@given(texts=regular_bodies(targets=2))
def test_merged_text_is_accepted_by_the_strict_parser(texts: list[bytes], oracle: Oracle) -> None:
    kinds = [{line for line in text.splitlines() if b"# TYPE" in line} for text in texts]
    names = [{line.split()[2] for line in lines} for lines in kinds]
    # If targets disagree on a type, no single type fits all samples.
    assume(len(kinds[0] | kinds[1]) == len(names[0] | names[1]))

    answer = oracle.ask({"op": "expfmt", "body": _base64(_merge(texts))})

    assert answer["error"] is None
    assert answer["families"] == len(names[0] | names[1])


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def test_samples_of_a_family_stand_together() -> None:
    one = b"# HELP a x\n# TYPE a histogram\na_bucket 1\nb 1\n"
    two = b'# HELP a y\n# TYPE a histogram\na_bucket{t="2"} 2\na_sum 2\n'

    assert _merge([one, two]) == (
        b'# HELP a x\n# TYPE a histogram\na_bucket 1\na_bucket{t="2"} 2\na_sum 2\nb 1\n'
    )


def test_interleaved_families_of_one_target_are_put_together() -> None:
    assert _merge([b"# TYPE a gauge\na 1\nb 1\na 2\n"]) == b"# TYPE a gauge\na 1\na 2\nb 1\n"


def test_a_conflict_of_types_keeps_the_first() -> None:
    one, two = b"# TYPE a gauge\na 1\n", b'# TYPE a counter\na{t="2"} 1\n'

    assert _merge([one, two]) == b'# TYPE a gauge\na 1\na{t="2"} 1\n'


def test_free_comments_stay_with_one_target_and_go_with_two() -> None:
    assert _merge([b"# x\na 1\n"]) == b"# x\na 1\n"
    assert _merge([b"# x\na 1\n# y\n", b"\nb 1\n"]) == b"a 1\nb 1\n"


def test_eof_stands_once_and_last() -> None:
    merged = _merge([b"a 1\n# EOF", b"b 1\n# EOF\n"], Format.OPENMETRICS)

    assert merged == b"a 1\nb 1\n# EOF\n"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b"a 1\n", b"a 2\n"),
        (b'a{x="1",y="2"} 1\n', b'a{y="2",x="1"} 1\n'),
        (b'a{x=""} 1\n', b"a 1\n"),
        (b'a{x="1"} 1\n', b'a{ "x" = "1" , } 1\n'),
        (b'{"a"} 1\n', b"a 1\n"),
        (b'a{x="\\n"} 1\n', b'a{x="\n"} 1\n'),
    ],
)
def test_a_series_of_two_targets_fails_the_later(one: bytes, two: bytes) -> None:
    with pytest.raises(MergeError, match="is also a series of another target") as caught:
        _merge([b"z 1\n", one, two])

    assert caught.value.index == 2


def test_a_series_twice_in_one_target_is_the_consumers_affair() -> None:
    assert _merge([b"a 1\na 2\n", b"b 1\n"]) == b"a 1\na 2\nb 1\n"


_HISTOGRAM = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n'


def test_a_family_without_a_type_takes_none_from_another_target() -> None:
    assert _merge([_HISTOGRAM, b'b{le="1"} 1\n']) == b'b{le="1"} 1\n' + _HISTOGRAM


def test_where_a_type_changes_nothing_the_order_stays() -> None:
    assert _merge([_HISTOGRAM, b'b{le="1.0"} 1\n']) == _HISTOGRAM + b'b{le="1.0"} 1\n'


def test_a_bucket_under_another_targets_type_is_read_as_before() -> None:
    counter = b"# TYPE h counter\nh 1\n"

    assert b'h_bucket{le="1.0"} 1\n' in _merge([counter, _HISTOGRAM])


def test_a_sample_before_its_type_is_read_as_before() -> None:
    early = b'lat{quantile="1"} 5\n'
    body = early + b'# TYPE lat summary\nlat{quantile="0.5"} 1\n'

    assert _merge([body]) == body


_NAMES = ("lat", "lat_bucket", "other")
_TYPED_LINES = st.sampled_from(
    [f"# TYPE {name} {kind}\n" for name in ("lat", "other") for kind in ("counter", "summary")]
    + [f"# TYPE {name} histogram\n" for name in ("lat", "other")]
    + [
        f'{name}{{{label}="{value}",t="TARGET",i="INDEX"}} 1\n'
        for name in _NAMES
        for label in ("le", "quantile", "x")
        for value in ("1", "1.0", "0.50", "+Inf", "1e30", "x")
    ]
)


@settings(max_examples=400)
@given(targets=st.lists(st.lists(_TYPED_LINES, max_size=8), min_size=1, max_size=3))
def test_what_prometheus_reads_of_each_target_it_reads_of_the_answer(
    targets: list[list[str]], oracle: Oracle
) -> None:
    texts = [
        "".join(
            line.replace("TARGET", str(number)).replace("INDEX", str(at))
            for at, line in enumerate(lines)
        ).encode()
        for number, lines in enumerate(targets)
    ]

    assert _series(told(oracle.parse(_merge(texts))), []) == sorted(
        row for text in texts for row in _series(told(oracle.parse(text)), [])
    )


_MARKING = [
    SeriesRewriter(
        SeriesPolicy(), RewriteContext(target_label="container", target=name), Escaping.UNDERSCORES
    )
    for name in ("one", "two")
]


def _reading(text: bytes, rewriter: SeriesRewriter) -> Reading:
    return SeriesCache(rewriter, Format.TEXT, Limits()).read(text)


def test_of_names_that_escaping_makes_equal_the_later_one_is_left_out_and_counted() -> None:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.UNDERSCORES)
    reading = _reading(b'{"my.metric"} 1\nmy_metric 2\nb 3\n', rewriter)

    plan = plan_merge([reading], Format.TEXT)

    assert plan.render(reading.tails) == b"my_metric 1\nb 3\n"
    assert (plan.left_out, plan.samples) == (1, 2)


def test_a_series_that_cannot_be_told_is_left_out_and_counted() -> None:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.UNDERSCORES)
    reading = _reading(b'a 1\n{"m","a.b"="1","a-b"="2"} 2\nb 3\n', rewriter)
    plan = plan_merge([reading], Format.TEXT)

    assert plan.render(reading.tails) == b"a 1\nb 3\n"
    assert (plan.left_out, plan.samples) == (1, 2)


@pytest.mark.parametrize(
    "body", [b"a 1 1700000000000\na 2 1700000001000\n", b"a 1\na 1\n", b'a{b="x",} 1\na{b="x"} 2\n']
)
def test_two_samples_of_one_series_stay_under_a_rule_that_touches_neither(body: bytes) -> None:
    rule = {"sourceLabels": ["nothing"], "regex": "x", "targetLabel": "y"}
    rewriter = SeriesRewriter(
        parse_pod_policy({"metricRelabelings": [rule]}).series,
        RewriteContext(),
        Escaping.ALLOW_UTF8,
    )
    reading = _reading(body, rewriter)

    assert plan_merge([reading], Format.TEXT).samples == 2


def test_series_that_a_rule_makes_equal_are_refused() -> None:
    rule = {"action": "labeldrop", "regex": "b"}
    rewriter = SeriesRewriter(
        parse_pod_policy({"metricRelabelings": [rule]}).series,
        RewriteContext(),
        Escaping.ALLOW_UTF8,
    )
    with pytest.raises(MergeError, match="relabel rules made two series identical: a"):
        plan_merge([_reading(b'a{b="1"} 1\na{b="2"} 2\n', rewriter)], Format.TEXT)


def test_a_family_that_stood_behind_a_foreign_type_still_does() -> None:
    body = _HISTOGRAM + b'b{le="1"} 1\n'

    assert _merge([body]) == body


def test_marked_targets_may_have_equal_series() -> None:
    readings = []
    for name in ("one", "two"):
        context = RewriteContext(target_label="container", target=name)
        readings += _readings(
            [b"a 1\n"], Format.TEXT, SeriesRewriter(SeriesPolicy(), context, Escaping.VALUES)
        )

    plan = plan_merge(readings, Format.TEXT)

    assert plan.render([b" 1\n", b" 2\n"]) == b'a{container="one"} 1\na{container="two"} 2\n'


def test_a_label_that_the_targets_have_already_moves_away_and_both_stay() -> None:
    readings = [_reading(b'a{container="one"} 1\n', rewriter) for rewriter in _MARKING]

    assert plan_merge(readings, Format.TEXT).render([b" 1\n", b" 2\n"]) == (
        b'a{exported_container="one",container="one"} 1\n'
        b'a{exported_container="one",container="two"} 2\n'
    )


def test_a_plan_serves_as_long_as_only_values_change() -> None:
    cache = SeriesCache(_NOTHING, Format.TEXT, Limits())
    plan = plan_merge([cache.read(b"a 1\nb 1\na 2\n")], Format.TEXT)

    tails = cache.read(b"a 7\nb 8\na 9\n").tails

    assert plan.render(tails) == b"a 7\na 9\nb 8\n"


def test_text_of_the_proxys_own_stands_before_eof() -> None:
    plan = plan_merge(_readings([b"a 1\n# EOF\n"], Format.OPENMETRICS), Format.OPENMETRICS)

    assert plan.render([b" 1\n"], b"own 1\n") == b"a 1\nown 1\n# EOF\n"


@given(texts=regular_bodies(targets=2))
def test_a_plan_knows_its_size(texts: list[bytes]) -> None:
    plan: MergePlan = plan_merge(_readings(texts, Format.TEXT), Format.TEXT)

    assert plan.size == len(b"".join(plan.parts))


def test_the_error_of_a_merge_is_an_error_of_exposition() -> None:
    assert issubclass(MergeError, ExpositionError)

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.errors import QueryError, QueryRefusedError
from sidecar.model.access.rules import parse_access_rules
from sidecar.model.access.views import view_of
from sidecar.model.promql.ast import selectors
from sidecar.model.promql.branches import View
from sidecar.model.promql.enforcement import (
    MAX_BRANCHES,
    enforce_query,
    enforce_selectors,
    everything,
)
from sidecar.model.promql.parser import parse_query, parse_series_selector
from tests.real_parts.presence import have
from tests.real_parts.prometheus import prometheus_program
from tests.sidecar.model.promql.queries import QUERIES
from tests.sidecar.model.promql.worlds import RULES, World, ask, is_alike, running_world

_VIEWS = {name: view_of(parse_access_rules(list(rules), "rules")) for name, rules in RULES.items()}

_NAMES = st.sampled_from(["up", "http_requests_total", "queue_depth", "queue_lag", "secret"])
_MATCHERS = st.sampled_from(
    ['job="db"', 'job!="web"', 'tier=~"one|two"', 'tier=""', 'namespace="shop"', 'namespace="bank"',
     'namespace!="shop"', 'namespace=""', 'namespace=~".*"', 'tier!~"t.*"', 'job=~".+"',
     'tier="one"']
)  # fmt: skip
_NAMELESS = st.sampled_from(
    ['{__name__=~"u.*|q.*"}', '{__name__!="secret",job="db"}', '{job="db"}', '{tier="one"}',
     '{__name__=~"secret|up",namespace=~"b.*"}', '{"up","queue_depth"}']
)  # fmt: skip
_NAMED = st.builds(
    lambda name, matchers: f"{name}{{{','.join(matchers)}}}" if matchers else name,
    _NAMES,
    st.lists(_MATCHERS, max_size=2),
)
_SELECTORS = st.one_of(_NAMED, _NAMED, _NAMED, _NAMELESS)
_SHIFTS = st.sampled_from(["", "", "", " offset 1m", " @ end()", " offset -30s", " smoothed"])
_VECTORS = st.builds(
    "{}{}".format, _SELECTORS, st.sampled_from(["", "", "", " offset 2m", " @ start()"])
)
_RANGES = st.builds("{}[{}]{}".format, _SELECTORS, st.sampled_from(["1m", "3m", "90s"]), _SHIFTS)
_PER_SERIES = st.sampled_from(
    ["rate", "increase", "max_over_time", "count_over_time", "last_over_time", "deriv", "changes",
     "absent_over_time", "present_over_time", "sum_over_time", "ts_of_max_over_time"]
)  # fmt: skip
_GROUPINGS = st.sampled_from(["", " by (job)", " by (namespace)", " without (tier)", " by ()"])
_LEAVES = st.one_of(
    _VECTORS,
    _VECTORS,
    st.builds("{}({})".format, _PER_SERIES, _RANGES),
    st.builds("quantile_over_time(scalar({}) / 100, {})".format, _VECTORS, _RANGES),
    st.builds("timestamp({})".format, _VECTORS),
    st.builds("absent({})".format, _VECTORS),
)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    ops = st.sampled_from(["+", "-", "*", "/", "and", "or", "unless", ">", "== bool", "</"])
    how = st.sampled_from(["", " on (job)", " ignoring (tier)", " on (job, tier) group_left ()"])
    return st.one_of(
        st.builds("({} {}{} {})".format, inner, ops, how, inner),
        st.builds("sum{} ({})".format, _GROUPINGS, inner),
        st.builds("count{} ({})".format, _GROUPINGS, inner),
        # Ties are broken differently each time, so only results without ties are compared.
        st.builds("topk{} (2, {})".format, _GROUPINGS, _NAMED),
        st.builds("quantile(scalar({}) / 1000, {})".format, inner, inner),
        st.builds("-{}".format, inner),
        st.builds("({})[2m:30s]".format, inner).map("max_over_time({})".format),
        st.builds('label_replace({}, "job", "$1", "tier", "(.*)")'.format, inner),
        st.builds("scalar({}) + {}".format, inner, inner),
        st.builds("vector(1) and on () {}".format, inner),
        st.builds('count_values("v", {})'.format, inner),
        st.builds("sort_by_label({}, 'job')".format, inner),
    )


_TYPED = st.recursive(_LEAVES, _nested, max_leaves=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    have(prometheus_program)
    with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@example("absent(up{job='db'})")
@example("absent_over_time(queue_depth{tier='one'}[1m])")
@example("timestamp((up))")
@example("rate((http_requests_total[1m]))")
@example("vector(1) unless on () secret")
@example("count(up or queue_depth)")
@example("absent(up{namespace='shop'})")
@example("max_over_time(absent(up)[1m:30s])")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TYPED)
def test_an_answer_is_that_of_a_prometheus_with_the_tenant_s_series_alone(
    world: World, text: str
) -> None:
    moment = [("time", str(world.now - 30))]
    span = [("start", str(world.now - 300)), ("end", str(world.now)), ("step", "60")]
    for tenant in world.tenants:
        if tenant.name == "nothing" and "absent" in text and "!" in text:
            continue  # an empty database does not sort conditions, and labels depend on their order
        try:
            rewritten = enforce_query(text, tenant.view).text
        except QueryRefusedError:
            continue
        for path, when in (("query", moment), ("query_range", span)):
            if path == "query_range" and "topk" in text:
                continue  # some step has a tie
            status, plain = ask(tenant.alone, path, [("query", text), *when])
            found = ask(world.whole, path, [("query", rewritten), *when])
            assert found[0] == status, (tenant.name, rewritten, plain, found)
            if status == 200:
                assert is_alike(found[1], plain), (tenant.name, rewritten, plain, found[1])


@given(
    _SELECTORS, st.sampled_from(["series", "labels", "label/job/values", "label/__name__/values"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_metadata_is_that_of_the_tenant_s_series_alone(world: World, text: str, path: str) -> None:
    span = [("start", str(world.now - 3000)), ("end", str(world.now))]
    for tenant in world.tenants:
        matches = enforce_selectors([parse_series_selector(text)], tenant.view)

        plain = ask(tenant.alone, path, [("match[]", text), *span])
        found = ask(world.whole, path, [*(("match[]", item) for item in matches), *span])
        assert found == plain, (tenant.name, matches)


@given(QUERIES, st.sampled_from(sorted(_VIEWS)))
def test_whatever_is_asked_every_selector_that_is_sent_is_held_to_a_namespace(
    text: str, name: str
) -> None:
    view = _VIEWS[name]
    try:
        sent = enforce_query(text, view).text
    except (QueryError, QueryRefusedError):
        return

    tree = parse_query(sent, max_bytes=1 << 20)
    assert view.is_open or all(view.isolates(selector) for selector in selectors(tree))


def _view(*rules: dict[str, Any]) -> View:
    named = [{"name": f"r{index}", **rule} for index, rule in enumerate(rules)]
    return view_of(parse_access_rules(named, "rules"))


_ONE = {"patterns": ["up", "http_.*"], "namespaces": ["shop"]}
_TWO = {"patterns": ["{job='db'}"], "labelSelectors": {"tier": "x"}, "namespaces": ["bank"]}


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("up", 'up{namespace=~"shop"}'),
        ("up{job='a'}", 'up{namespace=~"shop",job="a"}'),
        ("{job='a'}", '{__name__=~"(?:http_.*)|up",namespace=~"shop",job="a"}'),
        ("secret", 'secret{namespace=~"-none-",namespace=~"-never-"}'),
        ("up{namespace='bank'}", 'up{namespace=~"-none-",namespace=~"-never-",namespace="bank"}'),
        ('up{a="\\"} or secret{b=\\""}', 'up{namespace=~"shop",a="\\"} or secret{b=\\""}'),
        ("topk(scalar(up), up)", 'topk(scalar(up{namespace=~"shop"}), up{namespace=~"shop"})'),
    ],
)
def test_a_selector_takes_the_rule_s_conditions(text: str, sent: str) -> None:
    assert enforce_query(text, _view(_ONE)).text == sent


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("up", '(up{namespace=~"shop"} or up{namespace=~"bank",job=~"db",tier=~"x"})'),
        ("up{job='web'}", 'up{namespace=~"shop",job="web"}'),
        ("queue", 'queue{namespace=~"bank",job=~"db",tier=~"x"}'),
        ("rate(up[5m] offset 1m)", '(rate(up{namespace=~"shop"}[5m] offset 1m) or '
         'rate(up{namespace=~"bank",job=~"db",tier=~"x"}[5m] offset 1m))'),
        ("absent(up)", '(absent(up{namespace=~"shop"}) and '
         'absent(up{namespace=~"bank",job=~"db",tier=~"x"}))'),
        ("timestamp((up))", '(timestamp(up{namespace=~"shop"}) or '
         'timestamp(up{namespace=~"bank",job=~"db",tier=~"x"}))'),
    ],
)  # fmt: skip
def test_where_several_rules_hold_their_selectors_are_joined(text: str, sent: str) -> None:
    assert enforce_query(text, _view(_ONE, _TWO)).text == sent


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "{job='db'}",
            r"names no metric, and the access rules need 2 selectors .* name the",
        ),
        ("up[5m]", r"up with a range needs 2 selectors here .* add one of these conditions"),
        ("rate({job='db'}[5m])", r'^\{job="db"\} names no metric'),
        ("info(up)", r"info\(\) reads series that the query does not name"),
    ],
)
def test_what_cannot_be_exact_is_refused_with_what_to_change(text: str, reason: str) -> None:
    with pytest.raises(QueryRefusedError, match=reason):
        enforce_query(text, _view(_ONE, _TWO))


def test_a_match_is_one_selector_for_each_branch() -> None:
    found = enforce_selectors([parse_series_selector("{job='db'}")], _view(_ONE, _TWO))

    assert len(found) == 2
    assert enforce_selectors([parse_series_selector("up")], _view()) == [
        'up{namespace=~"-none-",namespace=~"-never-"}'
    ]


def test_too_many_branches_are_refused() -> None:
    rules = [
        {"patterns": ["up"], "labelSelectors": {f"l{at}": "x"}, "namespaces": ["shop"]}
        for at in range(MAX_BRANCHES + 1)
    ]

    with pytest.raises(
        QueryRefusedError, match="17 selectors under the access rules; 16 are allowed"
    ):
        enforce_query("up", _view(*rules))
    # A list of selectors needs no `or`: a series search returns the matches of all.
    assert len(enforce_selectors([parse_series_selector("up")], _view(*rules))) == 17
    assert len(everything(_view(*rules))) == 17


def test_a_query_does_not_grow_beyond_all_bounds() -> None:
    rule = {"patterns": [f"metric_{at}" for at in range(900)], "namespaces": ["shop"]}

    with pytest.raises(QueryRefusedError, match="65536 are allowed"):
        enforce_query(" or ".join(["{job='a'}"] * 10), _view(rule))


def test_what_cannot_be_seen_is_empty_or_an_error() -> None:
    view = _view(_ONE)
    assert "-none-" in enforce_query("secret", view).text
    with pytest.raises(
        QueryRefusedError, match="allow no series of secret: select series that they allow"
    ):
        enforce_query("secret", view._replace(refuses_unseen=True))
    empty = view._replace(branches=(), refuses_unseen=True)
    assert everything(empty) == everything(empty._replace(refuses_unseen=False))


def test_a_rewritten_query_reaches_back_as_far_as_it_did() -> None:
    assert enforce_query("rate(up[5m])", _view(_ONE, _TWO)).span_seconds == 300


_MANY_LABELS = [{"patterns": [f'{{l{at}="v"}}' for at in range(1000)], "namespaces": ["shop"]}]
_MANY_VALUES = [{"patterns": [f'{{x="v{at}"}}' for at in range(1000)], "namespaces": ["shop"]}]


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        ("up", _MANY_LABELS, "too many different conditions"),
        ("+".join(["up"] * 5000), _MANY_VALUES, "longer than 65536 characters"),
        (
            "+".join(f'up{{a="{at}"}}' for at in range(400)),
            _MANY_VALUES,
            "longer than 65536 characters",
        ),
        ("+".join(["up"] * 600), [_ONE], "more than 500 selectors"),
    ],
)
def test_what_would_take_long_to_rewrite_is_refused_before(
    text: str, rules: list[Any], reason: str
) -> None:
    with pytest.raises(QueryRefusedError, match=reason):
        enforce_query(text, _view(*rules))


def test_selectors_of_one_question_do_not_grow_beyond_all_bounds() -> None:
    rule = {"patterns": [f"metric_{at}" for at in range(1000)], "namespaces": ["shop"]}
    asked = [parse_series_selector(f'{{i="{at}"}}') for at in range(50)]

    with pytest.raises(QueryRefusedError, match="262144 are allowed"):
        enforce_selectors(asked, _view(rule))


def test_brackets_around_what_is_absent_change_nothing() -> None:
    for text in ("absent(up)", "absent_over_time(up[5m])"):
        bracketed = text.replace("(up", "((up") + ")"
        sent = enforce_query(text, _view(_ONE, _TWO)).text
        assert enforce_query(bracketed, _view(_ONE, _TWO)).text == sent


def test_series_that_come_first_are_not_taken_of_several_selectors() -> None:
    assert enforce_query("limitk(1, up)", _view(_ONE)).text
    with pytest.raises(QueryRefusedError, match=r"limitk\(\) depends on the order of series"):
        enforce_query("limitk(1, up)", _view(_ONE, _TWO))


def test_each_selector_counts_once_whatever_stands_around_it() -> None:
    for call in ("rate(up[5m])", "absent(up)", "limitk(1, up)"):
        assert enforce_query("+".join([call] * 500), _view(_ONE)).text
        with pytest.raises(QueryRefusedError, match="more than 500 selectors"):
            enforce_query("+".join([call] * 501), _view(_ONE))


_TIER = {"patterns": ["up"], "labelSelectors": {"tier": "x"}, "namespaces": ["shop"]}
_JOB = {"patterns": ["up"], "labelSelectors": {"job": "y"}, "namespaces": ["shop"]}


@pytest.mark.parametrize(
    "function", ["quantile_over_time({}, up[5m])", "predict_linear(up[5m], {})"]
)
def test_selectors_that_become_several_multiply_only_so_far(function: str) -> None:
    def nested(depth: int) -> str:
        return "1" if not depth else f"scalar({function.format(nested(depth - 1))})"

    assert enforce_query(nested(4), _view(_TIER, _JOB)).text.count("up{") == 2 + 4 + 8 + 16
    for depth in (5, 12, 60):
        with pytest.raises(QueryRefusedError, match="nested too deeply"):
            enforce_query(nested(depth), _view(_TIER, _JOB))


def test_patterns_of_the_rules_do_not_count_as_patterns_of_the_query() -> None:
    two = {**_TIER, "patterns": ["{}"], "labelSelectors": {"environment": "prod", "tier": "x"}}
    assert enforce_query("+".join(['sum({job=~"a|b"})'] * 6), _view(two)).text

    rules = [
        {"patterns": ["up", "http_.*"], "labelSelectors": {f"l{at}": "x"}, "namespaces": ["shop"]}
        for at in range(6)
    ]
    assert enforce_query('absent({job=~"a.*"})', _view(*rules)).text

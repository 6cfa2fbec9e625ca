from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.errors import ExpositionError, LimitError
from sidecar.model.access.rules import Identity
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.lines import LOST, Line
from sidecar.model.exposition.parser import parse_head, scan
from sidecar.model.exposition.samples import Comment, CommentKind
from sidecar.model.labels.namespace_labels import LabelRules
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from tests.sidecar.model.bodies import bodies
from tests.sidecar.model.reading import read

_TEAM = SeriesPolicy(labels={"team": "blue"})


def _line(
    text: bytes,
    policy: SeriesPolicy = _TEAM,
    context: RewriteContext = RewriteContext(),  # noqa: B008
    escaping: Escaping = Escaping.ALLOW_UTF8,
) -> Line | None:
    head = parse_head(text, Format.TEXT)
    assert head is not None
    assert head.series is not None
    return SeriesRewriter(policy, context, escaping).series(head.series)


def _text(text: bytes, *args: Any, **options: Any) -> bytes | None:
    line = _line(text, *args, **options)
    return line and line.text


def _relabelled(text: bytes, *rules: dict[str, Any], **policy: Any) -> bytes | None:
    return _text(text, parse_pod_policy({"metricRelabelings": list(rules), **policy}).series)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a", b'a{team="blue"}'),
        (b"a{}", b'a{team="blue"}'),
        (b'a{x="1"}', b'a{x="1",team="blue"}'),
        (b'a{x="1",}', b'a{x="1",team="blue"}'),
        (b'a{ x="1" , }', b'a{ x="1" , team="blue"}'),
        (b'a{x="1" }', b'a{x="1" ,team="blue"}'),
        (b'a{x="}"}', b'a{x="}",team="blue"}'),
        (b'a{x=",\\""}', b'a{x=",\\"",team="blue"}'),
        (b'a{x=""}', b'a{x="",team="blue"}'),
        (b'{"a.b"}', b'{"a.b",team="blue"}'),
        (b'{x="1","a.b"}', b'{x="1","a.b",team="blue"}'),
        (b'a{team="own"}', b'a{team="own"}'),
        (b'a{"team"="own"}', b'a{team="own"}'),
        (b'a{team="",b="x"}', b'a{b="x"}'),
    ],
)
def test_a_label_is_added_where_the_metric_has_none(before: bytes, after: bytes) -> None:
    assert _text(before) == after


def test_nothing_to_add_leaves_the_text() -> None:
    assert _text(b'a { x="1" , }', SeriesPolicy()) == b'a { x="1" , }'


def test_values_are_escaped() -> None:
    policy = SeriesPolicy(labels={"team": 'b"l\\u\ne'})

    assert _text(b"a", policy) == b'a{team="b\\"l\\\\u\\ne"}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'a{team="own"}', b'a{exported_team="own",team="blue"}'),
        (b'a{team="own",exported_team="x"}',
         b'a{exported_exported_team="own",exported_team="x",team="blue"}'),
        (b'a{exported_team="x"}', b'a{exported_team="x",team="blue"}'),
        (b'a{team=""}', b'a{team="blue"}'),
        (b'a{pod="forged"}', b'a{exported_pod="forged",team="blue"}'),
    ],
)  # fmt: skip
def test_in_protected_names_the_application_is_not_believed(before: bytes, after: bytes) -> None:
    policy = SeriesPolicy(
        labels={"team": "blue"}, naming=LabelRules(exclude=(), protected=frozenset(["team", "pod"]))
    )

    assert _text(before, policy) == after


@pytest.mark.parametrize("name", ["namespace", "pod", "container", "node"])
def test_who_speaks_for_objects_of_others_is_believed_whose_a_series_is(name: str) -> None:
    policy = SeriesPolicy(
        namespaces={"shop": {"team": "blue"}},
        naming=LabelRules(exclude=(), protected=frozenset(["team", name])),
    )
    context = RewriteContext(namespace_label="namespace")
    before = b'a{namespace="shop",%b="x",team="own"}' % name.encode()
    if name == "namespace":
        before = b'a{namespace="shop",team="own"}'
    after = before.replace(b'team="own"', b'exported_team="own",team="blue"')

    line = _line(before, policy, context)

    assert line is not None
    assert line.text == after


def test_the_exported_name_of_a_protected_name_may_be_protected_too() -> None:
    policy = SeriesPolicy(
        naming=LabelRules(exclude=(), protected=frozenset(["team", "exported_team"]))
    )

    assert _text(b'a{team="x"}', policy) == b'a{exported_exported_team="x"}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'a{namespace="green"}', b'a{namespace="green",team="green"}'),
        (b'a{namespace="other"}', b'a{namespace="other"}'),
        (b"a", b"a"),
        (b'a{namespace="green",team="own"}', b'a{namespace="green",team="own"}'),
    ],
)
def test_a_series_wears_the_labels_of_the_namespace_that_it_names(
    before: bytes, after: bytes
) -> None:
    policy = SeriesPolicy(labels={"team": "blue"}, namespaces={"green": {"team": "green"}})

    assert _text(before, policy, RewriteContext(namespace_label="namespace")) == after


def test_a_mark_tells_targets_apart() -> None:
    context = RewriteContext(target_label="container", target='a"b')

    line = _line(b'a{x="1"}', context=context)

    assert line == Line(b"a", b'a{x="1",team="blue",container="a\\"b"}', is_marked=True)


def test_the_mark_of_a_target_wins_over_a_label_of_the_series() -> None:
    context = RewriteContext(target_label="container", target="one")

    line = _line(b'a{container="one"}', context=context)

    text = b'a{exported_container="one",team="blue",container="one"}'
    assert line == Line(b"a", text, is_marked=True)


@pytest.mark.parametrize("name", [b"livery_policy_streams", b"livery_target_up", b"livery_"])
def test_a_name_of_liverys_own_is_no_applications(name: bytes) -> None:
    assert _line(name) is None
    assert _line(b'{"%b"}' % name) is None


def test_a_rule_makes_no_name_of_liverys_own() -> None:
    rule = {"targetLabel": "__name__", "replacement": "livery_policy_streams"}

    assert _line(b"a", parse_pod_policy({"metricRelabelings": [rule]}).series) is None


@pytest.mark.parametrize("kind", ["HELP", "TYPE"])
def test_a_comment_about_a_name_of_liverys_own_goes_with_its_samples(kind: str) -> None:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)
    raw = f"# {kind} livery_target_up gauge\n".encode()
    comment = Comment(CommentKind(kind.lower()), b"livery_target_up", b"gauge", raw)

    assert rewriter.comment(comment).raw == b""


def test_a_label_that_the_target_gives_a_meaning_is_not_added() -> None:
    policy = SeriesPolicy(labels={"name": "shop", "team": "blue"})
    context = RewriteContext(never_added=frozenset([b"name"]))

    line = _line(b'm{container="",pod="web-0"}', policy, context)

    assert line is not None
    assert line.text == b'm{container="",pod="web-0",team="blue"}'


def test_a_rule_that_takes_the_mark_away_unmarks() -> None:
    policy = parse_pod_policy(
        {"metricRelabelings": [{"action": "labeldrop", "regex": "container"}]}
    ).series

    line = _line(b"a", policy, RewriteContext(target_label="container", target="one"))

    assert line == Line(b"a", b"a", is_marked=False, may_collide=True)


def test_rules_keep_the_order_of_what_stays() -> None:
    rule = {"targetLabel": "b", "replacement": "new"}

    assert _relabelled(b'a{z="1",c="2",b="3"}', rule) == b'a{z="1",c="2",b="new"}'
    assert _relabelled(b'a{z="1"}', rule) == b'a{z="1",b="new"}'


def test_rules_see_added_labels_and_unescaped_values() -> None:
    rule = {
        "sourceLabels": ["team", "x"],
        "regex": 'blue;"',
        "targetLabel": "y",
        "replacement": "\\",
    }

    assert _relabelled(b'a{x="\\""}', rule, labels={"team": "blue"}) == (
        b'a{x="\\"",team="blue",y="\\\\"}'
    )


def test_a_rule_may_rename_or_drop_a_series() -> None:
    rename = {"targetLabel": "__name__", "replacement": "b.c"}

    assert _relabelled(b'a{x="1"}', rename) == b'{"b.c",x="1"}'
    assert _relabelled(b"a", {"action": "drop", "regex": ".*"}) is None
    assert _relabelled(b"a", {"action": "labeldrop", "regex": ".*"}) is None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "labeldrop", "regex": "__name__"}, "a relabel rule removed the name of 'a'"),
        (
            {"action": "labelmap", "regex": "(x)", "replacement": "$2"},
            "gave an empty label name to 'a'",
        ),
    ],
)
def test_a_rule_that_spoils_a_series_fails_the_scrape(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ExpositionError, match=message):
        _relabelled(b'a{x="1"}', rule)


def test_a_filter_lets_through_what_the_access_rules_name() -> None:
    access = [{"patterns": ["a"], "namespaces": ["blue"]}]
    context = RewriteContext(identity=Identity(namespace="blue"), filters=True)
    policy = parse_pod_policy({"access": access}).series

    assert _text(b'a{x="1"}', policy, context) == b'a{x="1"}'
    assert _text(b"b", policy, context) is None
    assert _text(b"a", SeriesPolicy(), context) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a.b"}', b"a_b"),
        (b'{"a.b","c.d"="1"}', b'a_b{c_d="1"}'),
        (b'a{"c.d"="1"}', b'a{c_d="1"}'),
        (b'a{x="1" "c.d"="1"}', b'a{x="1",c_d="1"}'),
        (b'a{x="1"\t,\t"c.d"="1"}', b'a{x="1",c_d="1"}'),
        (b'a{x="1""c.d"="1"}', b'a{x="1",c_d="1"}'),
        (b'a{ "x"="1"}', b'a{x="1"}'),
        (b'{"a"}', b"a"),
        (b'a{x="{\\"",y=",\\"",}', b'a{x="{\\"",y=",\\"",}'),
        (b'a{ x="1" }', b'a{ x="1" }'),
    ],
)
def test_names_are_escaped_for_a_client_that_takes_plain_ones(before: bytes, after: bytes) -> None:
    assert _text(before, SeriesPolicy(), escaping=Escaping.UNDERSCORES) == after


def test_dots_escape_plain_names_too() -> None:
    assert _text(b'a_b{c_d="1"}', SeriesPolicy(), escaping=Escaping.DOTS) == b'a__b{c__d="1"}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'# HELP "a.b" x "y"\n', b'# HELP a_b x "y"\n'),
        (b'# TYPE "a" gauge\n', b"# TYPE a gauge\n"),
        (b'#                      HELP "a" x\n', b"# HELP a x\n"),
        (b"#  HELP\ta x\n", b"#  HELP\ta x\n"),
        (b'# HELP a "x"\n', b'# HELP a "x"\n'),
        (b"# x\n", b"# x\n"),
    ],
)
def test_comments_are_fitted_to_the_client(before: bytes, after: bytes) -> None:
    (sample,) = scan(before + b"a 1\n", Format.TEXT)
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.UNDERSCORES)

    assert rewriter.comment(sample.head.comments[0]).raw == after


@pytest.mark.parametrize("escaping", [Escaping.UNDERSCORES, Escaping.DOTS, Escaping.VALUES])
@given(data=st.data())
def test_a_client_of_plain_names_sees_no_quoted_one(
    data: st.DataObject, escaping: Escaping
) -> None:
    body = data.draw(bodies(Format.TEXT))
    assume(not isinstance(read(body, Format.TEXT), str))
    for sample in scan(body, Format.TEXT):
        assert sample.head.series is not None
        line = SeriesRewriter(_TEAM, RewriteContext(), escaping).series(sample.head.series)
        assert line is not None
        assert not line.text.startswith(b"{")
        head = parse_head(line.text, Format.TEXT)
        # Two odd names may become equal: the scrape then fails in the client, as without a proxy.
        if head is not None and head.series is not None:
            quoted = [name for name, _ in head.series.labels if b'"%b"=' % name in line.text]
            assert quoted == []
            assert b"team" in [unescape(name) for name, _ in head.series.labels]


@pytest.mark.parametrize("escaping", [Escaping.UNDERSCORES, Escaping.DOTS], ids=str)
def test_a_protected_label_is_not_reached_by_a_name_that_escapes_to_it(escaping: Escaping) -> None:
    policy = parse_pod_policy({"labelRules": {"protected": ["cost_center"]}}).series
    written = b"cost.center" if escaping is Escaping.UNDERSCORES else b"cost-center"
    line = _line(b'm{"%b"="victim"}' % written, policy, escaping=escaping)

    assert line is not None
    assert line.text.startswith((b"m{exported_cost_center=", b"m{exported_cost__center="))


def test_our_label_and_one_that_escapes_to_its_name_are_not_both_written() -> None:
    policy = parse_pod_policy({"labels": {"cost-center": "ours"}}).series

    line = _line(b'm{"cost.center"="x"}', policy, escaping=Escaping.UNDERSCORES)

    assert line is not None
    assert line.text == b'm{cost_center="x"}'


def test_a_series_of_which_two_labels_become_one_is_lost_to_that_client_alone() -> None:
    text, policy = b'{"m","a.b"="1","a-b"="2"}', parse_pod_policy({}).series

    assert _line(text, policy, escaping=Escaping.UNDERSCORES) is LOST
    whole = _line(text, policy, escaping=Escaping.ALLOW_UTF8)
    assert whole is not None
    assert whole.text == text


def test_a_tenant_s_rules_do_not_touch_protected_labels() -> None:
    access = [
        {
            "patterns": [".*"],
            "namespaces": ["blue"],
            "metricRelabelings": [
                {"targetLabel": "team", "replacement": "victim"},
                {"targetLabel": "zone", "replacement": "victim"},
            ],
        }
    ]
    rules = {"protected": ["team", "zone"]}
    policy = parse_pod_policy(
        {"labels": {"team": "us"}, "labelRules": rules, "access": access}
    ).series
    context = RewriteContext(identity=Identity(namespace="blue"), filters=True)

    assert _text(b"m", policy, context) == b'm{team="us"}'


def test_a_tenant_s_rules_do_not_make_series_of_the_proxy_s_own() -> None:
    rename = {"targetLabel": "__name__", "replacement": "livery_target_up"}
    access = [{"patterns": [".*"], "namespaces": ["blue"], "metricRelabelings": [rename]}]
    context = RewriteContext(identity=Identity(namespace="blue"), filters=True)

    assert _line(b"m", parse_pod_policy({"access": access}).series, context) is None


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "labelmap", "regex": "(.*)", "replacement": "x%d_$1"},
        {"sourceLabels": ["a"], "targetLabel": "a", "replacement": "$1$1"},
    ],
    ids=["labels-double", "a-value-doubles"],
)
def test_rules_that_double_at_each_step_are_stopped(rule: dict[str, Any]) -> None:
    rules = [
        {key: value.replace("%d", str(n)) if isinstance(value, str) else value
         for key, value in rule.items()}
        for n in range(40)
    ]  # fmt: skip
    with pytest.raises(LimitError):
        _line(b'm{a="12345678"}', parse_pod_policy({"metricRelabelings": rules}).series)


def test_a_name_too_long_to_escape_is_refused() -> None:
    with pytest.raises(LimitError, match="a name of"):
        _line(b'{"%b"}' % (b"." * 2000), parse_pod_policy({}).series, escaping=Escaping.VALUES)

import dataclasses

import pytest

from sidecar.model.access.rules import Identity
from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.samples import Series
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter


def test_a_context_that_says_nothing_leaves_a_series_as_it_is() -> None:
    policy = SeriesPolicy(namespaces={"shop": {"team": "x"}}, access_rules=())
    series = Series(b"a", ((b"namespace", b"shop"),), b'a{namespace="shop"}')

    line = SeriesRewriter(policy, RewriteContext(), Escaping.UNDERSCORES).series(series)

    assert line is not None
    assert (line.text, line.is_marked) == (series.raw, False)


def test_a_context_is_changed_by_making_another() -> None:
    context = RewriteContext(identity=Identity(namespace="shop"), target_label="container")

    other = dataclasses.replace(context, target="web")

    assert (other.identity, other.target_label) == (context.identity, "container")
    assert (context.target, other.target) == ("", "web")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(context, "target", "web")  # noqa: B010


def test_equal_facts_are_equal_contexts() -> None:
    assert RewriteContext(target="a") == RewriteContext(target="a")
    assert RewriteContext(target="a") != RewriteContext(target="a", filters=True)

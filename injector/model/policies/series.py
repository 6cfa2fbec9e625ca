"""The steps that a pod's proxy applies to one series of the application."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from sidecar.model.access.rules import Identity
from sidecar.model.described import Described
from sidecar.model.exposition.escapes import escape, unescape
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.parser import parse_head
from sidecar.model.exposition.samples import Series
from sidecar.model.labels.relabel import relabel_steps
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter

_NAME = "__name__"
Labels = Mapping[str, str]
"""A series' labels by name, including `__name__`."""


class StepKind(Described):
    """What the proxy does at one step."""

    EXPOSED = "exposed", "what the application exposes"
    LABELLED = "labelled", "labels of the namespace are added"
    RELABELLED = "relabelled", "a relabel rule of the platform is applied"
    FILTERED = "filtered", "the MetricAccess objects of the namespace are applied"


class LabelChange(NamedTuple):
    """One label before and after a step; None if the series does not have it."""

    name: str
    before: str | None
    after: str | None


class SeriesStep(NamedTuple):
    """One step, and the series before and after it."""

    kind: StepKind
    detail: str
    """The rule or object that decided; empty if there is none."""
    before: Labels
    labels: Labels | None
    """Labels after the step; None if the step dropped the series."""

    @property
    def changes(self) -> tuple[LabelChange, ...]:
        """The labels that differ; empty if the series was dropped."""
        if self.labels is None:
            return ()
        names = {**self.before, **self.labels}
        found = (LabelChange(name, self.before.get(name), self.labels.get(name)) for name in names)
        return tuple(change for change in found if change.before != change.after)


def follow_series(
    labels: Labels, policy: SeriesPolicy, identity: Identity, *, filters: bool
) -> Iterator[SeriesStep]:
    """Yield each step up to the one that drops the series, if one does.

    Args:
        labels: the series as the application exposes it.
        policy: the policy of the pod's proxy.
        identity: the pod's own labels, which access rules may select by.
        filters: whether the proxy exposes only what access rules allow.

    Raises:
        ExpositionError: a rule leaves the series without a name, or with an empty label.
    """
    yield SeriesStep(StepKind.EXPOSED, "", labels, labels)
    labelled = _rewrite(labels, replace(policy, relabelings=()), RewriteContext())
    yield SeriesStep(StepKind.LABELLED, "", labels, labelled)
    if labelled is None:
        return
    changed: Labels = labelled
    for index, step in enumerate(relabel_steps(labelled, policy.relabelings)):
        detail = f"metricRelabelings[{index}] ({step.rule.action})"
        yield SeriesStep(StepKind.RELABELLED, detail, changed, step.after)
        if step.after is None:
            return
        changed = step.after
    _rewrite(labels, policy, RewriteContext())  # raises if rules leave no valid series
    if filters:
        context = RewriteContext(identity=identity, filters=True)
        admitted = _rewrite(labels, policy, context)
        rule = _admitting(changed, policy, identity)
        yield SeriesStep(StepKind.FILTERED, rule, changed, admitted)


def _admitting(labels: Labels, policy: SeriesPolicy, identity: Identity) -> str:
    """Return the name of the first access rule that matches a series."""
    seen = {**identity.virtual_labels(), **labels, "namespace": identity.namespace}
    return next((rule.name for rule in policy.access_rules or () if rule.matches(seen)), "")


def _rewrite(labels: Labels, policy: SeriesPolicy, context: RewriteContext) -> Labels | None:
    """Rewrite a series as the proxy does."""
    line = SeriesRewriter(policy, context, Escaping.ALLOW_UTF8).series(_series_of(labels))
    head = None if line is None else parse_head(line.text, Format.TEXT)
    if head is None or head.series is None:
        return None
    return {
        _NAME: head.series.name.decode(),
        **{name.decode(): unescape(value).decode() for name, value in head.series.labels},
    }


def _series_of(labels: Labels) -> Series:
    pairs = tuple(
        (name.encode(), escape(value.encode())) for name, value in labels.items() if name != _NAME
    )
    name = labels[_NAME].encode()
    quoted = [b'"%b"="%b"' % (escape(label), value) for label, value in pairs]
    return Series(name, pairs, b"{%b}" % b",".join([b'"%b"' % escape(name), *quoted]))

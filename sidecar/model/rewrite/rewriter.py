"""Rewrites one series: adds labels, applies rules, escapes names for the client.

Text that need not change stays as it was written, because the scraper's caches identify a series by
its text.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sidecar.errors import ExpositionError
from sidecar.model.access.rules import admit
from sidecar.model.exposition.escapes import escape, unescape
from sidecar.model.exposition.formats import Escaping
from sidecar.model.exposition.lines import LOST, OWN_PREFIX, Line
from sidecar.model.exposition.names import escape_name, is_plain_label_name, is_plain_metric_name
from sidecar.model.exposition.samples import Comment, CommentKind, Series, show_text
from sidecar.model.labels.namespace_labels import derive_labels
from sidecar.model.labels.relabel import relabel
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.encoding import Encoding, Pairs

if TYPE_CHECKING:
    from sidecar.model.pods.index import PodIndex

MAX_COMMONS = 10_000
"""Maximum namespaces whose added text is cached: an exporter may name any number of them."""
_NAME = b"__name__"
_IDENTITY = frozenset([b"namespace", b"pod", b"container", b"node"])
# A series without a quoted name, and a comment with one; neither pattern backtracks.
_UNQUOTED = re.compile(
    rb"[a-zA-Z_:][a-zA-Z0-9_:]*+[ \t]*+(?:\{[ \t]*+(?:[a-zA-Z_][a-zA-Z0-9_]*+[ \t]*+=[ \t]*+"
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t]*+(?:,[ \t]*+)?+)*+\})?+'
)
_QUOTED_COMMENT = re.compile(rb'[ \t]*+#[ \t]*+[A-Z]++[ \t]*+"')


class _Common(NamedTuple):
    """The text that is added to every series that has none of the labels in `names`."""

    text: bytes
    names: frozenset[bytes]


class SeriesRewriter:
    """Rewrites one target's series under one policy, for one kind of client.

    Args:
        policy: the policy.
        context: facts about the target.
        escaping: the client's escaping.
        encoding: the policy's encoded labels, if they exist already.
    """

    def __init__(
        self,
        policy: SeriesPolicy,
        context: RewriteContext,
        escaping: Escaping,
        encoding: Encoding | None = None,
    ) -> None:
        self._policy = policy
        self._context = context
        self._escaping = escaping
        encoding = encoding or Encoding(policy, escaping)
        self._escape_label, self._encode = encoding.escape, encoding.encode
        self._marks = [
            (self._escape_label(name.encode()), escape(value.encode()))
            for name, value in context.marks
        ]
        # Labels that identify the target are protected: a series' own value is moved.
        self._protected = encoding.protected | {name for name, _ in self._marks}
        if context.namespace_label:
            # The series itself names its owner: the target exposes series of other workloads.
            self._protected -= _IDENTITY | context.never_added
            self._protected -= {self._escape_label(context.namespace_label.encode())}
        self._namespace_label = self._escape_label(context.namespace_label.encode())
        self._own, self._by_namespace = encoding.own, encoding.by_namespace
        self._pods = context.pods
        self._by_pod = self._encode_pods()
        self._has_rules = bool(policy.relabelings) or context.filters
        self._commons: dict[bytes, _Common] = {}
        """By namespace; under the empty name if every series gets the pod's own labels."""

    def series(self, series: Series) -> Line | None:
        """Rewrite a series; None if a rule drops it, or if its name is reserved for Livery.

        Returns `LOST` if the client's escaping gives two of its labels the same name.

        Raises:
            ExpositionError: rules removed its name, or gave it an empty or a duplicate label name.
        """
        if self._is_reserved(series.name):
            return None
        common = self._find_common(series)
        if common is not None:
            return Line(series.name, _insert(series, common.text), bool(self._marks))
        escaped = self._escape(series)
        if escaped is None:
            return LOST
        if self._pods is not None and self._context.completes:
            escaped = _complete(escaped, self._pods, self._namespace_label)
        labels = self._wear(escaped)
        is_marked = bool(self._marks)
        line: Line | None = _render(escaped.name, labels)
        if self._has_rules:
            line = self._apply_rules(escaped, labels)
            is_marked = is_marked and line is not None and self._is_marked(line)
        if line is None or self._is_reserved(line.name):
            return None
        is_escaped = escaped is not series
        return line._replace(
            is_marked=is_marked, may_collide=self._has_rules or is_escaped, is_escaped=is_escaped
        )

    @property
    def rules(self) -> int:
        """Number of rules and patterns that may be applied to a series."""
        access = self._policy.access_rules or () if self._context.filters else ()
        tenant = sum(len(rule.patterns) + len(rule.relabelings) for rule in access)
        return len(self._policy.relabelings) + tenant

    def comment(self, comment: Comment) -> Comment:
        """Escape a comment's name for the client; blank out comments on reserved names."""
        if self._is_reserved(comment.name):
            return _silence(comment)
        if comment.kind is CommentKind.FREE or self._escaping is Escaping.ALLOW_UTF8:
            return comment
        name = escape_name(comment.name, self._escaping, colons=True)
        if self._is_reserved(name):
            return _silence(comment)
        if name == comment.name and _QUOTED_COMMENT.match(comment.raw) is None:
            return comment
        kind = comment.kind.upper().encode()
        end = b"\n" if comment.raw.endswith(b"\n") else b""
        return comment._replace(name=name, raw=b"# %b %b %b%b" % (kind, name, comment.text, end))

    def _is_reserved(self, name: bytes) -> bool:
        context = self._context
        name = name.strip()  # some parsers ignore blanks in a quoted name
        if name in context.reserved:
            return not context.is_own
        if not name.startswith(OWN_PREFIX) or context.is_own:
            return False
        return not context.passed_prefix or not name.startswith(context.passed_prefix)

    def _find_common(self, series: Series) -> "_Common | None":
        """Return the text to insert into a series; None if the series needs more changes."""
        if self._has_rules or self._by_pod or not self._escaping_keeps(series):
            return None
        if self._pods is not None and self._context.completes:
            return None
        namespace = b""
        if self._namespace_label:
            namespace = next(
                (value for name, value in series.labels if name == self._namespace_label), b""
            )
            if b"\\" in namespace:
                return None
        common = self._commons.get(namespace)
        if common is None:
            common = self._make_common(namespace)
        return common if common.names.isdisjoint([name for name, _ in series.labels]) else None

    def _make_common(self, namespace: bytes) -> "_Common":
        worn = self._by_namespace.get(namespace, ()) if self._namespace_label else self._own
        pairs = self._additions((), worn)
        names = frozenset(name for name, _ in pairs) | self._protected
        common = _Common(b",".join(b'%b="%b"' % pair for pair in pairs), names)
        if len(self._commons) < MAX_COMMONS:
            self._commons[namespace] = common
        return common

    def _escaping_keeps(self, series: Series) -> bool:
        if self._escaping is Escaping.ALLOW_UTF8:
            return True
        return self._escaping is not Escaping.DOTS and _UNQUOTED.fullmatch(series.raw) is not None

    def _encode_pods(self) -> Mapping[tuple[bytes, bytes], Pairs]:
        if self._pods is None:
            return {}
        naming = replace(self._policy.naming, include=("*",), exclude=())
        return {
            (namespace.encode(), pod.encode()): self._encode(derive_labels(worn, naming))
            for (namespace, pod), worn in self._pods.worn.items()
        }

    def _escape(self, series: Series) -> Series | None:
        """Escape a series' names for the client, before any decision depends on them.

        Returns None if two of its labels then have the same name.
        """
        if self._escaping is Escaping.ALLOW_UTF8:
            return series
        labels = tuple((self._escape_label(name), value) for name, value in series.labels)
        name = escape_name(series.name, self._escaping, colons=True)
        if name == series.name and labels == series.labels:
            return series
        if len({label for label, _ in labels}) != len(labels):
            return None
        return Series(name, labels, series.raw)

    def _wear(self, series: Series) -> list[tuple[bytes, bytes]]:
        """Return the series' labels with ours added, protected names moved to `exported_<name>`."""
        labels = [(name, value) for name, value in series.labels if value]
        # A label that the series has already stays, even if it is empty.
        empty = {name for name, value in series.labels if not value} - self._protected
        worn = self._own
        if self._namespace_label:
            said = dict(labels)
            namespace = unescape(said.get(self._namespace_label, b""))
            worn = self._by_namespace.get(namespace, ())
            if self._by_pod:
                # Namespace labels take precedence: whoever may create a pod must not choose its
                # team.
                of_pod = self._by_pod.get((namespace, unescape(said.get(b"pod", b""))), ())
                taken = {name for name, _ in worn} | self._protected
                worn += tuple(pair for pair in of_pod if pair[0] not in taken)
        if not self._protected.isdisjoint(name for name, _ in labels):
            labels = self._move_protected(labels, worn if self._context.is_labelled else ())
        return labels + self._additions(labels, worn, empty)

    def _additions(
        self,
        labels: tuple[()] | list[tuple[bytes, bytes]],
        worn: Pairs,
        taken: Collection[bytes] = (),
    ) -> list[tuple[bytes, bytes]]:
        names = {name for name, _ in [*labels, *self._marks]} | self._context.never_added
        names.update(taken)
        return [pair for pair in worn if pair[0] not in names] + self._marks

    def _move_protected(
        self, labels: list[tuple[bytes, bytes]], ours: Pairs
    ) -> list[tuple[bytes, bytes]]:
        taken = {name for name, _ in labels}
        moved = []
        for name, value in labels:
            new = name
            if name in self._protected and (name, value) not in ours:
                while new in taken or new in self._protected:
                    new = b"exported_" + new
                taken.add(new)
            moved.append((new, value))
        return moved

    def _apply_rules(self, series: Series, labels: list[tuple[bytes, bytes]]) -> Line | None:
        seen: Mapping[str, str] = {
            name.decode(): unescape(value).decode() for name, value in labels
        }
        seen = {**seen, "__name__": series.name.decode()}
        changed = relabel(seen, self._policy.relabelings)
        if changed is not None and self._context.filters:
            changed = self._admit(changed)
        if not changed:
            return None
        if "__name__" not in changed or "" in changed:
            what = (
                "removed the name of"
                if "__name__" not in changed
                else "gave an empty label name to"
            )
            raise ExpositionError(0, f"a relabel rule {what} {show_text(series.name)}")
        final = {
            name.encode(): escape(value.encode())
            for name, value in changed.items()
            if name not in self._context.appended or name in seen
        }
        name = unescape(final.pop(_NAME))
        kept = [(label, final.pop(label)) for label, _ in labels if label in final]
        made = [(self._escape_label(label), value) for label, value in sorted(final.items())]
        if len({label for label, _ in kept + made}) != len(kept + made):
            raise ExpositionError(0, f"relabel rules gave {show_text(name)} a label twice")
        if name != series.name:
            name = escape_name(name, self._escaping, colons=True)
        return _render(name, kept + made)

    def _admit(self, labels: dict[str, str]) -> dict[str, str] | None:
        """Apply the tenant's rules, which can only narrow: protected labels stay unchanged."""
        admitted = admit(labels, self._policy.access_rules or (), self._context.identity)
        if admitted is None:
            return None
        for name in list(admitted):
            if self._escape_label(name.encode()) in self._protected and name not in labels:
                del admitted[name]
        for name, value in labels.items():
            if self._escape_label(name.encode()) in self._protected:
                admitted[name] = value
        return admitted

    def _is_marked(self, line: Line) -> bool:
        return all(b'%b="%b"' % mark in line.text for mark in self._marks)


def _silence(comment: Comment) -> Comment:
    """Blank out a comment; one whose text continues in a tail must remain a comment."""
    if comment.raw.endswith(b"\n"):
        return comment._replace(kind=CommentKind.FREE, name=b"", raw=b"")
    name = b"exported_livery"
    return comment._replace(name=name, raw=b"# HELP %b %b" % (name, comment.text))


def _complete(series: Series, pods: "PodIndex", namespace_label: bytes) -> Series:
    """Add namespace, pod and container to a series that has a cgroup but no namespace."""
    said = dict(series.labels)
    if said.get(namespace_label) or not said.get(b"id"):
        return series
    owner = pods.owner(unescape(said[b"id"]).decode())
    if owner is None:
        return series
    facts = {namespace_label: owner.namespace, b"pod": owner.pod, b"container": owner.container}
    made = {name: escape(value.encode()) for name, value in facts.items() if not said.get(name)}
    kept = tuple(pair for pair in series.labels if pair[0] not in made)
    return series._replace(labels=(*kept, *made.items()))


def _render(name: bytes, labels: Sequence[tuple[bytes, bytes]]) -> Line:
    pairs = [b'%b="%b"' % (_quote_label(label), value) for label, value in labels]
    if is_plain_metric_name(name):
        block = b"{%b}" % b",".join(pairs) if pairs else b""
        return Line(name, name + block)
    return Line(name, b"{%b}" % b",".join([b'"%b"' % escape(name), *pairs]))


def _quote_label(name: bytes) -> bytes:
    return name if is_plain_label_name(name) else b'"%b"' % escape(name)


def _insert(series: Series, text: bytes) -> bytes:
    raw = series.raw
    if not text:
        return raw
    if not raw.endswith(b"}"):
        return b"%b{%b}" % (raw, text)
    before = raw[:-1].rstrip(b" \t")
    comma = b"" if before.endswith((b",", b"{")) else b","
    return b"%b%b%b}" % (raw[:-1], comma, text)

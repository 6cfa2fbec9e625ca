"""What becomes of one series: labels put on, rules applied, names fit for the client.

Text stays as it was written wherever nothing had to change: the consumer's caches know a series by
its text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.errors import ExpositionError
from sidecar.model.access import Identity, admit
from sidecar.model.exposition import Comment, CommentKind, Series, escape, unescape
from sidecar.model.formats import Escaping
from sidecar.model.names import escape_name, is_plain_label_name, is_plain_metric_name
from sidecar.model.policy import Policy
from sidecar.model.relabel import relabel
from sidecar.model.series import Line

_NAME = b"__name__"
# A series without a quoted name, and a comment with one; nothing goes back.
_UNQUOTED = re.compile(
    rb"[a-zA-Z_:][a-zA-Z0-9_:]*+[ \t]*+(?:\{[ \t]*+(?:[a-zA-Z_][a-zA-Z0-9_]*+[ \t]*+=[ \t]*+"
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t]*+(?:,[ \t]*+)?+)*+\})?+'
)
_QUOTED_COMMENT = re.compile(rb'[ \t]*+#[ \t]*+[A-Z]++[ \t]*+"')
_NOBODY = Identity()


@dataclass(frozen=True, kw_only=True)
class Marking:
    """How one target's series are told apart and whom they speak for."""

    identity: Identity = _NOBODY
    target_label: str = ""
    """Name of the label that says which target a series came from; empty for none."""
    target: str = ""
    """Its value."""
    namespace_label: str = ""
    """Label of a series that names the namespace whose labels it wears; empty: the pod's own."""
    filters: bool = False
    """Whether the policy's access rules decide what is exposed."""


class Rewriting:
    """One target's series under one policy, for one kind of client."""

    def __init__(self, policy: Policy, marking: Marking, escaping: Escaping) -> None:
        self._policy = policy
        self._marking = marking
        self._escaping = escaping
        self._protected = {name.encode() for name in policy.protected}
        self._mark = (marking.target_label.encode(), escape(marking.target.encode()))
        self._namespace_label = marking.namespace_label.encode()
        self._own = _encode(policy.labels)
        self._by_namespace = {
            name.encode(): _encode(labels) for name, labels in (policy.namespaces or {}).items()
        }
        self._has_rules = bool(policy.relabelings) or marking.filters
        # The common case: every series that has none of these labels gets the same text added.
        self._common = self._additions((), self._own)
        self._common_names = {name for name, _ in self._common} | self._protected
        self._common_text = b",".join(b'%b="%b"' % pair for pair in self._common)

    def series(self, series: Series) -> Line | None:
        """Rewrite a series; None if a rule drops it.

        Raises:
            ExpositionError: a rule left a series without a name.
        """
        if self._is_common(series):
            return Line(series.name, _insert(series, self._common_text), bool(self._mark[0]))
        labels = self._wear(series)
        is_marked = self._mark in labels and self._mark not in series.labels
        if not self._has_rules:
            return self._render(series.name, labels, is_marked=is_marked)
        return self._apply_rules(series, labels, is_marked=is_marked)

    def comment(self, comment: Comment) -> Comment:
        """Fit a comment's name to the client."""
        if comment.kind is CommentKind.FREE or self._escaping is Escaping.ALLOW_UTF8:
            return comment
        name = escape_name(comment.name, self._escaping, colons=True)
        if name == comment.name and _QUOTED_COMMENT.match(comment.raw) is None:
            return comment
        kind = comment.kind.upper().encode()
        end = b"\n" if comment.raw.endswith(b"\n") else b""
        return comment._replace(name=name, raw=b"# %b %b %b%b" % (kind, name, comment.text, end))

    def _is_common(self, series: Series) -> bool:
        if self._has_rules or self._namespace_label or not self._escaping_keeps(series):
            return False
        return self._common_names.isdisjoint([name for name, _ in series.labels])

    def _escaping_keeps(self, series: Series) -> bool:
        if self._escaping is Escaping.ALLOW_UTF8:
            return True
        return self._escaping is not Escaping.DOTS and _UNQUOTED.fullmatch(series.raw) is not None

    def _wear(self, series: Series) -> list[tuple[bytes, bytes]]:
        """The series' labels with ours, protected names moved out of the way."""
        labels = [(name, value) for name, value in series.labels if value]
        worn = self._own
        if self._namespace_label:
            own_namespace = dict(labels).get(self._namespace_label, b"")
            worn = self._by_namespace.get(unescape(own_namespace), ())
        if not self._protected.isdisjoint(name for name, _ in labels):
            labels = self._move_protected(labels)
        return labels + self._additions(labels, worn)

    def _additions(
        self, labels: tuple[()] | list[tuple[bytes, bytes]], worn: "_Pairs"
    ) -> list[tuple[bytes, bytes]]:
        taken = {name for name, _ in labels}
        marks = [self._mark] if self._mark[0] and self._mark[0] not in taken else []
        return [pair for pair in worn if pair[0] not in taken and pair[0] != self._mark[0]] + marks

    def _move_protected(self, labels: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        taken = {name for name, _ in labels}
        moved = []
        for name, value in labels:
            new = name
            if name in self._protected:
                while new in taken or new in self._protected:
                    new = b"exported_" + new
                taken.add(new)
            moved.append((new, value))
        return moved

    def _apply_rules(
        self, series: Series, labels: list[tuple[bytes, bytes]], *, is_marked: bool
    ) -> Line | None:
        seen: Mapping[str, str] = {
            name.decode(): unescape(value).decode() for name, value in labels
        }
        seen = {**seen, "__name__": series.name.decode()}
        changed = relabel(seen, self._policy.relabelings)
        if changed is not None and self._marking.filters:
            changed = admit(changed, self._policy.access or (), self._marking.identity)
        if not changed:
            return None
        if "__name__" not in changed:
            raise ExpositionError(
                0, f"a relabel rule removed the name of {series.name[:80].decode()!r}"
            )
        if "" in changed:
            raise ExpositionError(
                0, f"a relabel rule gave {series.name[:80].decode()!r} a label without a name"
            )
        final = {name.encode(): escape(value.encode()) for name, value in changed.items()}
        name = unescape(final.pop(_NAME))
        kept = [(label, final.pop(label)) for label, _ in labels if label in final]
        is_marked = is_marked and self._mark in kept
        return self._render(name, kept + sorted(final.items()), is_marked=is_marked)

    def _render(self, name: bytes, labels: list[tuple[bytes, bytes]], *, is_marked: bool) -> Line:
        name = escape_name(name, self._escaping, colons=True)
        pairs = [
            b'%b="%b"' % (_quote_label(escape_name(label, self._escaping, colons=False)), value)
            for label, value in labels
        ]
        if is_plain_metric_name(name):
            block = b"{%b}" % b",".join(pairs) if pairs else b""
            return Line(name, name + block, is_marked)
        return Line(name, b"{%b}" % b",".join([b'"%b"' % escape(name), *pairs]), is_marked)


_Pairs = tuple[tuple[bytes, bytes], ...]


def _encode(labels: Mapping[str, str]) -> _Pairs:
    return tuple((name.encode(), escape(value.encode())) for name, value in labels.items())


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

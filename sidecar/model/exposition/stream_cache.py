"""What is remembered of a streamed body: each series and what it became, one scrape long."""

import re
from collections.abc import Collection
from typing import NamedTuple

from sidecar.model.exposition.limits import NODE_LIMITS, Limits
from sidecar.model.exposition.lines import Rewriter
from sidecar.model.exposition.series_cache import NUMBER

_HEAD_BYTES = 200
"""What the interpreter holds for a head and what it became, besides their text."""
_TIMESTAMP = rb"(?: [0-9]{1,18}+)?+"
# Prometheus ends what has gone only where no timestamp is: by default it is left out here.
_DIVIDE = {
    False: re.compile(rb"( %b)%b\n" % (NUMBER, _TIMESTAMP)),
    True: re.compile(rb"( %b%b)\n" % (NUMBER, _TIMESTAMP)),
}
_VALUE = {
    False: re.compile(rb"[ \t]*+([^ \t\n]++)"),
    True: re.compile(rb"[ \t]*+([^ \t\n]++(?:[ \t]++[^ \t\n]++)?+)"),
}


class Bare(bytes):
    """What a dropped series left: the comments before it, and no value."""


class Remembered(NamedTuple):
    """What a scrape left for the next one."""

    heads: list[bytes]
    """In the order in which they came; none where that says nothing any more."""
    texts: list[bytes]
    """What each head became, a newline before it."""
    known: dict[bytes, bytes]
    """The same by head."""
    comments: frozenset[bytes]
    """Heads that are comments up to what looks like a value in them."""
    has_bare: bool
    size_bytes: int


_NOTHING = Remembered([], [], {}, frozenset(), has_bare=False, size_bytes=0)


class StreamCache:
    """What one endpoint's series became under one policy, for one kind of client.

    Args:
        rewriter: what a policy makes of a series.
        keeps_timestamps: whether they are passed on.
        limits: what the endpoint may expose.
    """

    def __init__(
        self, rewriter: Rewriter, *, keeps_timestamps: bool = False, limits: Limits = NODE_LIMITS
    ) -> None:
        self.rewriter = rewriter
        self.limits = limits
        self.divide = _DIVIDE[keeps_timestamps]
        self.value = _VALUE[keeps_timestamps].match
        self.remembered = _NOTHING

    @property
    def size_bytes(self) -> int:
        """Size of what is remembered."""
        return self.remembered.size_bytes

    def invalidate(self, rewriter: Rewriter, containing: Collection[str]) -> None:
        """Go on with another rewriter, which differs for some series only.

        Args:
            rewriter: what is made of a series now.
            containing: substrings; every affected series contains at least one. A namespace's or
                pod's name needs no escape: a series that names it holds it between quotes.
        """
        self.rewriter = rewriter
        marks = [text.encode() for text in containing]
        known = {
            head: text
            for head, text in self.remembered.known.items()
            if not any(mark in head for mark in marks)
        }
        self.remembered = self.remembered._replace(heads=[], texts=[], known=known)

    def keep(self, heads: list[bytes], texts: list[bytes], comments: frozenset[bytes]) -> None:
        """Remember a whole scrape in place of the last one; nothing where it is too much."""
        size = sum(map(len, heads)) + sum(map(len, texts)) + _HEAD_BYTES * len(heads)
        if size > self.limits.cache_bytes:
            heads, texts, size = [], [], 0
        known = dict(zip(heads, texts, strict=True))
        comments = comments.intersection(heads) if comments else comments
        for head in comments:
            del known[head]
        has_bare = any(type(text) is Bare for text in texts)
        self.remembered = Remembered(heads, texts, known, comments, has_bare, size)

    def add(self, fresh: dict[bytes, bytes], *, has_bare: bool) -> None:
        """Remember what a scrape that failed had made, beside what is known; if that fits."""
        size = self.size_bytes + sum(
            len(head) + len(text) + _HEAD_BYTES for head, text in fresh.items()
        )
        if size <= self.limits.cache_bytes:
            known = {**self.remembered.known, **fresh}
            has_bare = has_bare or self.remembered.has_bare
            self.remembered = self.remembered._replace(
                known=known, has_bare=has_bare, size_bytes=size
            )


class Course:
    """How a body compares with the last one: the same heads in the same order, or not.

    Args:
        last: what is remembered, as it was when the body began: another may end meanwhile.
    """

    def __init__(self, last: Remembered) -> None:
        self._last = last
        self._at = 0
        """How many of its heads came so far, as long as nothing but values changed."""
        self._heads: list[bytes] | None = None
        """All heads so far and what they became, where something changed."""
        self._texts: list[bytes] = []

    def recall(self, heads: list[bytes], comments: frozenset[bytes]) -> list[bytes] | None:
        """Return what the heads became, if they are those that came here the last time."""
        if self._heads is not None:
            return None
        start, end = self._at, self._at + len(heads)
        if self._last.heads[start:end] != heads or not comments.isdisjoint(heads):
            return None
        self._at = end
        return self._last.texts[start:end]

    def note(self, heads: list[bytes], texts: list[bytes]) -> None:
        """Write down what came, for something changed."""
        if self._heads is None:
            self._heads = self._last.heads[: self._at]
            self._texts = self._last.texts[: self._at]
        self._heads += heads
        self._texts += texts

    def keep_in(self, cache: StreamCache, comments: frozenset[bytes]) -> None:
        """Remember the whole body, if it was another than the last."""
        if self._heads is not None:
            cache.keep(self._heads, self._texts, comments)
        elif self._at < len(self._last.heads):
            cache.keep(self._last.heads[: self._at], self._last.texts[: self._at], comments)

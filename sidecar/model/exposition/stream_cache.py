"""Cache of a streamed body: each series of the last scrape and its rewritten text."""

import re
from collections.abc import Collection
from typing import NamedTuple

from sidecar.model.exposition.limits import NODE_LIMITS, Limits
from sidecar.model.exposition.lines import Rewriter
from sidecar.model.exposition.series_cache import NUMBER

_HEAD_BYTES = 200
"""Memory that a head and its rewritten text take besides the characters."""
_TIMESTAMP = rb"(?: [0-9]{1,18}+)?+"
# Prometheus marks vanished series as stale only if they have no timestamp, so timestamps are
# removed by default.
_DIVIDE = {
    False: re.compile(rb"( %b)%b\n" % (NUMBER, _TIMESTAMP)),
    True: re.compile(rb"( %b%b)\n" % (NUMBER, _TIMESTAMP)),
}
_VALUE = {
    False: re.compile(rb"[ \t]*+([^ \t\n]++)"),
    True: re.compile(rb"[ \t]*+([^ \t\n]++(?:[ \t]++[^ \t\n]++)?+)"),
}


class Bare(bytes):
    """Remains of a dropped series: the comments before it, and no value."""


class Remembered(NamedTuple):
    """The part of a scrape that is cached for the next one."""

    heads: list[bytes]
    """In order of arrival; empty if the order is no longer usable."""
    texts: list[bytes]
    """The rewritten text of each head, beginning with a newline."""
    known: dict[bytes, bytes]
    """The same texts by head."""
    comments: frozenset[bytes]
    """Heads that are comments, cut at what looks like a value in them."""
    has_bare: bool
    size_bytes: int


_NOTHING = Remembered([], [], {}, frozenset(), has_bare=False, size_bytes=0)


class StreamCache:
    """One endpoint's rewritten series under one policy, for one kind of client.

    Args:
        rewriter: rewrites series under the policy.
        keeps_timestamps: whether timestamps are passed on.
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
        """Size of the cached scrape."""
        return self.remembered.size_bytes

    def invalidate(self, rewriter: Rewriter, containing: Collection[str]) -> None:
        """Switch to another rewriter, which differs only for some series.

        Args:
            rewriter: the new rewriter.
            containing: substrings; every affected series contains at least one. The name of a
                namespace or pod needs no escaping: a series has it verbatim between quotes.
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
        """Cache a whole scrape in place of the last one, or nothing if it is too large."""
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
        """Add what a failed scrape had rewritten to the cache, if it fits."""
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
    """Compares a body with the last one: the same heads in the same order, or not.

    Args:
        last: the cached scrape when the body began; another scrape may replace it meanwhile.
    """

    def __init__(self, last: Remembered) -> None:
        self._last = last
        self._at = 0
        """How many of its heads have arrived, as long as only values changed."""
        self._heads: list[bytes] | None = None
        """All heads so far, once something changed; `_texts` has their rewritten text."""
        self._texts: list[bytes] = []

    def recall(self, heads: list[bytes], comments: frozenset[bytes]) -> list[bytes] | None:
        """Return the cached text of the heads if the last body had the same ones here."""
        if self._heads is not None:
            return None
        start, end = self._at, self._at + len(heads)
        if self._last.heads[start:end] != heads or not comments.isdisjoint(heads):
            return None
        self._at = end
        return self._last.texts[start:end]

    def note(self, heads: list[bytes], texts: list[bytes]) -> None:
        """Record heads and their text, because something changed."""
        if self._heads is None:
            self._heads = self._last.heads[: self._at]
            self._texts = self._last.texts[: self._at]
        self._heads += heads
        self._texts += texts

    def keep_in(self, cache: StreamCache, comments: frozenset[bytes]) -> None:
        """Cache the whole body if its heads differ from the last one's."""
        if self._heads is not None:
            cache.keep(self._heads, self._texts, comments)
        elif self._at < len(self._last.heads):
            cache.keep(self._last.heads[: self._at], self._last.texts[: self._at], comments)

"""Text labelled while it arrives: a node's metrics are too much to hold twice.

What `series_cache` does for a whole body is done here for each block: one pass in C divides it
where values stand, the heads between them are compared with the last scrape's, and what became of
each is put in their place. The cache holds one scrape's series and what they became; the body
itself is never held. Text that the quick division does not fit is read exactly, a block at a time.
"""

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sidecar.errors import ExpositionError, LateError, LimitError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.limits import NODE_LIMITS, Limits
from sidecar.model.exposition.parser import (
    MAX_SERIES_BYTES,
    Comment,
    Head,
    check_labels,
    parse_head,
    parse_rest,
    scan,
)
from sidecar.model.exposition.series_cache import NUMBER, Rewriter

MAX_CARRY_BYTES = MAX_SERIES_BYTES + (1 << 20)
"""What may be held back for its end: one series with the comments before it."""
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


_OPEN = rb'"(?:[^"\\]|\\.)*+'
_QUOTED_META = rb"#[ \t]++(?:HELP|TYPE)[ \t]++" + _OPEN
# A label, or the name in a comment, that is still within quotes: what looked like a value was a
# part of it.
_WITHIN_QUOTES = re.compile(
    rb'(?:[ \t]*+(?:%b"[^\n]*+|#(?![ \t]++(?:HELP|TYPE)[ \t]++")[^\n]*+)?\n)*+'
    rb'(?:[ \t]*+%b|[^"#\n]*+(?:%b"[^"\n]*+)*+%b)' % (_QUOTED_META, _QUOTED_META, _OPEN, _OPEN),
    re.DOTALL,
)


class _Bare(bytes):
    """What a dropped series left: the comments before it, and no value."""


class StreamCache:
    """What one endpoint's series became under one policy, for one kind of client.

    Args:
        rewrite: what a policy makes of a series.
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
        self.heads: list[bytes] = []
        self.texts: list[bytes] = []
        """What each head became, a newline before it."""
        self.known: dict[bytes, bytes] = {}
        self.comments: frozenset[bytes] = frozenset()
        """Heads that are comments up to what looks like a value in them."""
        self.has_bare = False
        self.bytes = 0

    def invalidate(self, rewriter: Rewriter, containing: Collection[str]) -> None:
        """Go on with another rewriter, which differs for some series only.

        Args:
            rewriter: what is made of a series now.
            containing: substrings; every affected series contains at least one. A namespace's or
                pod's name needs no escape: a series that names it holds it between quotes.
        """
        self.rewriter = rewriter
        marks = [text.encode() for text in containing]
        self.known = {
            head: text
            for head, text in self.known.items()
            if not any(mark in head for mark in marks)
        }
        self.heads, self.texts = [], []

    def keep(self, heads: list[bytes], texts: list[bytes], comments: frozenset[bytes]) -> None:
        """Remember a whole scrape in place of the last one; nothing where it is too much."""
        size = sum(map(len, heads)) + sum(map(len, texts)) + _HEAD_BYTES * len(heads)
        if size > self.limits.cache_bytes:
            heads, texts, size = [], [], 0
        self.heads, self.texts, self.bytes = heads, texts, size
        self.known = dict(zip(heads, texts, strict=True))
        self.comments = comments.intersection(heads) if comments else comments
        for head in self.comments:
            del self.known[head]
        self.has_bare = any(type(text) is _Bare for text in texts)


class _Read(NamedTuple):
    """A block read exactly."""

    heads: list[bytes]
    values: list[bytes]
    texts: list[bytes]
    rest: tuple[Comment, ...]
    """Comments behind the last series."""
    unended: bytes = b""
    """What is behind them and wants more to be read."""


class StreamRewriter:
    """One body on its way through."""

    def __init__(self, cache: StreamCache, is_late: Callable[[], bool] = lambda: False) -> None:
        self._cache = cache
        # As they were at the start: another passage may end meanwhile.
        self._old_heads, self._old_texts, self._known = cache.heads, cache.texts, cache.known
        self._rewriter = cache.rewriter
        self._fresh: dict[bytes, bytes] = {}
        self._comments = cache.comments
        self._is_late = is_late
        self._carry = b""
        self._at = 0
        """How many of the cached heads came so far, as long as nothing but values changed."""
        self._heads: list[bytes] | None = None
        """All heads so far and what they became, where something changed."""
        self._texts: list[bytes] = []
        self._bytes = 0
        self._is_first = True
        self._has_bare = cache.has_bare
        self.samples = 0

    def feed(self, *data: bytes) -> bytes:
        """Take the next parts of the body; returns what can be passed on.

        Raises:
            ExpositionError: Prometheus would refuse it.
            LimitError: a bound was passed.
            LateError: `is_late` said so.
        """
        text = b"".join([self._carry, *data])
        parts = self._cache.divide.split(text)
        self._carry = parts.pop()
        self._check_carry()
        if not parts:
            return b""
        heads, values = parts[::2], parts[1::2]
        texts = self._recall(heads)
        if texts is None:
            block = text[: len(text) - len(self._carry)]
            texts = self._look_up(heads, block)
            if texts is None:
                heads, values, texts, comments, unended = self._read_exactly(block)
                # What ends a comment may look like a value: it belongs to the next series.
                held = b"".join(item.raw for item in comments)
                self._carry = held + unended + self._carry
                self._check_carry()
            self._note(heads, texts)
        pieces = sum(map(self._comments.__contains__, heads)) if self._comments else 0
        return self._render(texts, values, pieces)

    def finish(self) -> bytes:
        """Take the body's end; returns what is left. What was seen is cached.

        Raises:
            ExpositionError: it broke off within a line, or Prometheus would refuse it.
        """
        last = b""
        if self._carry:
            comments = parse_rest(self._carry, Format.TEXT)
            if comments is None:
                heads, values, texts, comments, _ = self._read_exactly(self._carry, is_last=True)
                self._note(heads, texts)
                last = self._render(texts, values)
            last += b"".join(b"\n" + self._rewriter.comment(item).raw.rstrip(b"\n")
                             for item in comments)  # fmt: skip
        if self._is_first:
            last = last[1:]
        end = b"" if self._is_first and not last else b"\n"
        if self._cache.rewriter is not self._rewriter:
            return last + end  # it goes on under another policy already
        if self._heads is not None:
            self._cache.keep(self._heads, self._texts, self._comments)
        elif self._at < len(self._old_heads):
            heads, texts = self._old_heads[: self._at], self._old_texts[: self._at]
            self._cache.keep(heads, texts, self._comments)
        return last + end

    def leave(self) -> None:
        """Remember what was made though the passage failed: the next one has less to do."""
        cache = self._cache
        if cache.rewriter is not self._rewriter:
            return
        size = cache.bytes + sum(
            len(head) + len(text) + _HEAD_BYTES for head, text in self._fresh.items()
        )
        if size <= cache.limits.cache_bytes:
            cache.known = {**cache.known, **self._fresh}
            cache.has_bare = cache.has_bare or self._has_bare
            cache.bytes = size

    def _check_carry(self) -> None:
        if len(self._carry) > MAX_CARRY_BYTES:
            raise LimitError(f"more than {MAX_CARRY_BYTES >> 10} KiB without the end of a sample")

    def _recall(self, heads: list[bytes]) -> list[bytes] | None:
        """Return what the heads became, if they are those that came here the last time."""
        if self._heads is not None:
            return None
        start, end = self._at, self._at + len(heads)
        if self._old_heads[start:end] != heads:
            return None
        if not self._comments.isdisjoint(heads):
            return None
        self._at = end
        return self._old_texts[start:end]

    def _look_up(self, heads: Sequence[bytes], block: bytes) -> list[bytes] | None:
        """Return what each head became, new ones made; None where one cannot be read alone."""
        known = list(map(self._known.get, heads))
        texts = [text for text in known if text is not None]
        if len(texts) == len(heads):
            return texts
        texts = [b"" if text is None else text for text in known]
        for index in (at for at, text in enumerate(known) if text is None):
            text = self._fresh.get(heads[index])
            if text is None:
                head = parse_head(heads[index], Format.TEXT)
                if head is None:
                    return None
                # A comment that ends in what looks like a value goes on in it; what looks like a
                # timestamp would be lost.
                if head.series is None:
                    if not self._is_whole(block, index):
                        return None
                    self._comments |= {heads[index]}
                    texts[index] = self._render_head(head)
                    continue
                text = self._make(heads[index], head)
            texts[index] = text
        return texts

    def _is_whole(self, block: bytes, index: int) -> bool:
        """Tell whether nothing but a newline stood behind a value."""
        matches = self._cache.divide.finditer(block)
        match = next(itertools.islice(matches, index, None))
        return match.end() - match.end(1) == 1

    def _read_exactly(self, block: bytes, *, is_last: bool = False) -> "_Read":
        heads: list[bytes] = []
        values: list[bytes] = []
        texts: list[bytes] = []
        rows = scan(block, Format.TEXT)
        read = 0
        try:
            while True:
                sample = next(rows)
                text = self._known.get(sample.text) or self._fresh.get(sample.text)
                if text is None:
                    text = self._make(sample.text, sample.head)
                heads.append(sample.text)
                texts.append(text)
                value = self._cache.value(sample.tail)
                values.append(b" " + value[1] if value else b"")
                read += len(sample.text) + len(sample.tail)
        except StopIteration as stop:
            return _Read(heads, values, texts, stop.value)
        except LimitError:
            raise
        except ExpositionError as error:
            if not is_last and _WITHIN_QUOTES.fullmatch(block, read):
                return _Read(heads, values, texts, (), block[read:])
            shown = block.split(b"\n")[error.line - 1 : error.line]
            where = b"".join(shown)[:200].decode(errors="replace")
            raise ExpositionError(0, f"{error.reason} in {where!r}") from None

    def _make(self, key: bytes, head: Head) -> bytes:
        made = self._fresh[key] = self._render_head(head)
        return made

    def _render_head(self, head: Head) -> bytes:
        if self._is_late():
            raise LateError("the series could not be put through the rules in the scrape's time")
        cache = self._cache
        comments = b"".join(self._rewriter.comment(item).raw for item in head.comments)
        if head.series is None:
            return b"\n" + comments
        check_labels(head.series, cache.limits)
        line = self._rewriter.series(head.series)
        if line is None:
            self._has_bare = True
            return _Bare(b"\n" + comments.rstrip(b"\n") if comments else b"")
        return b"\n%b%b" % (comments, line.text)

    def _note(self, heads: Sequence[bytes], texts: Sequence[bytes]) -> None:
        """Write down what came, for something changed."""
        if self._heads is None:
            self._heads = self._old_heads[: self._at]
            self._texts = self._old_texts[: self._at]
        self._heads += heads
        self._texts += texts

    def _render(self, texts: Sequence[bytes], values: Sequence[bytes], comments: int = 0) -> bytes:
        if self._has_bare:
            joined = b"".join(
                [
                    text if type(text) is _Bare else text + value
                    for text, value in zip(texts, values, strict=True)
                ]
            )
        else:
            lines = [b""] * (2 * len(texts))
            lines[::2], lines[1::2] = texts, values
            joined = b"".join(lines)
        self.samples += len(values) - comments
        self._bytes += len(joined)
        limits = self._cache.limits
        if self.samples > limits.samples:
            raise LimitError(f"more than {limits.samples} samples")
        if self._bytes > limits.lines_bytes:
            raise LimitError(f"more than {limits.lines_bytes >> 20} MiB with the labels")
        if self._is_first and joined:
            self._is_first = False
            return joined[1:]
        return joined

"""Labels text while it arrives: a node's metrics are too large to hold twice.

This does for each block what `series_cache` does for a whole body: one pass in C splits it at its
values, and the heads between them are compared with the last scrape's and replaced by the rewritten
ones. The cache holds one scrape's series and their rewritten text, never the body itself. Text that
the fast split cannot handle goes through the exact parser, a block at a time.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sidecar.errors import ExpositionError, LateError, LimitError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import LOST
from sidecar.model.exposition.parser import MAX_SERIES_BYTES, parse_head, parse_rest, scan
from sidecar.model.exposition.samples import Comment, Head, check_labels
from sidecar.model.exposition.stream_cache import Bare, Course, StreamCache

MAX_CARRY_BYTES = MAX_SERIES_BYTES + (1 << 20)
"""Maximum size of unfinished text to hold back: one series with the comments before it."""
_OPEN = rb'"(?:[^"\\]|\\.)*+'
_QUOTED_META = rb"#[ \t]++(?:HELP|TYPE)[ \t]++" + _OPEN
# Text that ends inside the quotes of a label or of a name in a comment: what looked like a value
# was part of it.
_WITHIN_QUOTES = re.compile(
    rb'(?:[ \t]*+(?:%b"[^\n]*+|#(?![ \t]++(?:HELP|TYPE)[ \t]++")[^\n]*+)?\n)*+'
    rb'(?:[ \t]*+%b|[^"#\n]*+(?:%b"[^"\n]*+)*+%b)' % (_QUOTED_META, _QUOTED_META, _OPEN, _OPEN),
    re.DOTALL,
)


class _Read(NamedTuple):
    """A block as read by the exact parser."""

    heads: list[bytes]
    values: list[bytes]
    texts: list[bytes]
    rest: tuple[Comment, ...]
    """Comments after the last series."""
    unended: bytes = b""
    """Text after them that needs more input."""


class _Maker:
    """Rewrites each head once."""

    def __init__(self, cache: StreamCache, is_late: Callable[[], bool]) -> None:
        self.rewriter = cache.rewriter
        self._limits = cache.limits
        self._known = cache.remembered.known
        self._is_late = is_late
        self.fresh: dict[bytes, bytes] = {}
        """Rewritten text by head, for heads that were not cached."""
        self.has_bare = cache.remembered.has_bare
        self.left_out = 0
        """Number of series, seen for the first time, that cannot be sent to the client."""

    def find(self, heads: Sequence[bytes]) -> list[bytes | None]:
        """Return the cached text of each head, None for heads that the last scrape did not have."""
        return list(map(self._known.get, heads))

    def get(self, key: bytes) -> bytes | None:
        """Return the rewritten text of a head, from the last scrape or this one."""
        return self._known.get(key) or self.fresh.get(key)

    def make(self, key: bytes, head: Head) -> bytes:
        """Rewrite a head and keep the result."""
        made = self.fresh[key] = self.render(head)
        return made

    def render(self, head: Head) -> bytes:
        """Rewrite a head; the text begins with a newline.

        Raises:
            ExpositionError: rules gave it a label twice, or removed its name.
            LateError: `is_late` returned True.
        """
        if self._is_late():
            raise LateError("the rules could not process all series within the scrape timeout")
        comments = b"".join(self.rewriter.comment(item).raw for item in head.comments)
        if head.series is None:
            return b"\n" + comments
        check_labels(head.series, self._limits)
        line = self.rewriter.series(head.series)
        self.left_out += line is LOST
        if line is None or line is LOST:
            self.has_bare = True
            return Bare(b"\n" + comments.rstrip(b"\n") if comments else b"")
        return b"\n%b%b" % (comments, line.text)


class _Output:
    """Builds the output and checks it against the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self.samples = 0
        self.is_empty = True

    def write(
        self, texts: Sequence[bytes], values: Sequence[bytes], *, comments: int, has_bare: bool
    ) -> bytes:
        """Join heads and values.

        Args:
            texts: the rewritten heads, each beginning with a newline.
            values: the value of each, beginning with a space.
            comments: how many of them are parts of comments.
            has_bare: whether there may be texts that take no value.

        Raises:
            LimitError: a limit was exceeded.
        """
        if has_bare:
            joined = b"".join(
                [
                    text if type(text) is Bare else text + value
                    for text, value in zip(texts, values, strict=True)
                ]
            )
        else:
            lines = [b""] * (2 * len(texts))
            lines[::2], lines[1::2] = texts, values
            joined = b"".join(lines)
        self.samples += len(values) - comments
        self._bytes += len(joined)
        if self.samples > self._limits.samples:
            raise LimitError(f"more than {self._limits.samples} samples")
        if self._bytes > self._limits.lines_bytes:
            raise LimitError(f"more than {self._limits.lines_bytes >> 20} MiB with added labels")
        if self.is_empty and joined:
            self.is_empty = False
            return joined[1:]
        return joined


class StreamRewriter:
    """Rewrites one body while it arrives."""

    def __init__(self, cache: StreamCache, is_late: Callable[[], bool] = lambda: False) -> None:
        self._cache = cache
        self._course = Course(cache.remembered)
        self._maker = _Maker(cache, is_late)
        self._output = _Output(cache.limits)
        self._comments = cache.remembered.comments
        self._carry = b""
        """Text whose end has not arrived yet."""

    @property
    def samples(self) -> int:
        """Number of samples passed on."""
        return self._output.samples

    @property
    def left_out(self) -> int:
        """Number of new series found that cannot be sent to the client."""
        return self._maker.left_out

    def feed(self, *data: bytes) -> bytes:
        """Take the next parts of the body; returns the text that can be passed on.

        Raises:
            ExpositionError: Prometheus would reject the body.
            LimitError: a limit was exceeded.
            LateError: `is_late` returned True.
        """
        text = b"".join([self._carry, *data])
        parts = self._cache.divide.split(text)
        self._carry = parts.pop()
        self._check_carry()
        if not parts:
            return b""
        heads, values = parts[::2], parts[1::2]
        texts = self._course.recall(heads, self._comments)
        if texts is None:
            block = text[: len(text) - len(self._carry)]
            texts = self._look_up(heads, block)
            if texts is None:
                heads, values, texts, comments, unended = self._read_exactly(block)
                # A comment's end may look like a value; the comment belongs to the next series.
                held = b"".join(item.raw for item in comments)
                self._carry = held + unended + self._carry
                self._check_carry()
            self._course.note(heads, texts)
        pieces = sum(map(self._comments.__contains__, heads)) if self._comments else 0
        return self._write(texts, values, pieces)

    def finish(self) -> bytes:
        """Finish the body: returns the remaining text, and caches the body's series.

        Raises:
            ExpositionError: the body ended within a line, or Prometheus would reject it.
        """
        last = self._write_rest() if self._carry else b""
        end = b"" if self._output.is_empty and not last else b"\n"
        # If the cache serves another policy by now, these results do not belong in it.
        if self._cache.rewriter is self._maker.rewriter:
            self._course.keep_in(self._cache, self._comments)
        return last + end

    def leave(self) -> None:
        """Cache what was rewritten before a failure, so that the next scrape has less to do."""
        if self._cache.rewriter is self._maker.rewriter:
            self._cache.add(self._maker.fresh, has_bare=self._maker.has_bare)

    def _write_rest(self) -> bytes:
        last = b""
        comments = parse_rest(self._carry, Format.TEXT)
        if comments is None:
            heads, values, texts, comments, _ = self._read_exactly(self._carry, is_last=True)
            self._course.note(heads, texts)
            last = self._write(texts, values)
        comment = self._maker.rewriter.comment
        behind = b"".join(b"\n" + comment(item).raw.rstrip(b"\n") for item in comments)
        return last + behind if not self._output.is_empty else behind[1:]

    def _write(self, texts: Sequence[bytes], values: Sequence[bytes], comments: int = 0) -> bytes:
        return self._output.write(texts, values, comments=comments, has_bare=self._maker.has_bare)

    def _check_carry(self) -> None:
        if len(self._carry) > MAX_CARRY_BYTES:
            raise LimitError(f"more than {MAX_CARRY_BYTES >> 10} KiB without the end of a sample")

    def _look_up(self, heads: Sequence[bytes], block: bytes) -> list[bytes] | None:
        """Return each head's text, rewriting new heads; None if one cannot be parsed alone."""
        known = self._maker.find(heads)
        texts = [text for text in known if text is not None]
        if len(texts) == len(heads):
            return texts
        texts = [b"" if text is None else text for text in known]
        for index in (at for at, text in enumerate(known) if text is None):
            text = self._maker.fresh.get(heads[index])
            if text is None:
                head = parse_head(heads[index], Format.TEXT)
                if head is None:
                    return None
                # A comment that ends in what looks like a value continues in it; what looks like a
                # timestamp would be lost.
                if head.series is None:
                    if not self._is_whole(block, index):
                        return None
                    self._comments |= {heads[index]}
                    texts[index] = self._maker.render(head)
                    continue
                text = self._maker.make(heads[index], head)
            texts[index] = text
        return texts

    def _is_whole(self, block: bytes, index: int) -> bool:
        """Return whether only a newline follows the value at `index`."""
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
                text = self._maker.get(sample.text)
                if text is None:
                    text = self._maker.make(sample.text, sample.head)
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

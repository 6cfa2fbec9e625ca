"""Cache of rewritten lines: a scrape has mostly the same text as the last one.

One pass in C splits the body at its values. The text between them, the heads, is compared with the
last scrape's: if nothing changed, all series are rewritten already and only the new values are
filled in. A new head is parsed and rewritten once. Text that the fast split cannot handle goes
through the exact parser: slower, with equal results.
"""

import re
from collections.abc import Callable

from sidecar.errors import LateError, LimitError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import (
    LOST,
    Entry,
    LineStore,
    OwnLines,
    Reading,
    Rewriter,
    Shape,
)
from sidecar.model.exposition.parser import MAX_COMMENT_LINES, parse_head, parse_rest, scan
from sidecar.model.exposition.samples import Head, check_labels

# Numbers that are never out of range for float64: up to 200 digits and a two-digit exponent, or one
# digit and an exponent below 300 (as in 1.7976931348623157e+208). The exact parser reads others.
_DIGITS = rb"[0-9]{1,200}+"
_FRACTION = rb"(?:\.[0-9]{0,100}+)?+(?:[eE][+-]?+[0-9]{1,2}+)?+"
_LARGE = rb"(?:\.[0-9]{1,40}+)?+[eE][+-]?+[12][0-9][0-9]"
# Plain numbers come first: they are by far the most frequent.
NUMBER = rb"(?:%b%b|[0-9]%b|[+-](?:%b%b|[0-9]%b|Inf)|Inf|NaN)" % (
    _DIGITS, _FRACTION, _LARGE, _DIGITS, _FRACTION, _LARGE,
)  # fmt: skip
# ASCII only, so that the tails of a split body need no further check.
_EXEMPLAR = rb'\{(?:[a-zA-Z_][a-zA-Z0-9_]*+="[ !#-\[\]-~]*+"(?:,|(?=\})))*+\}'
_SECONDS = rb"-?+[0-9]{1,18}+(?:\.[0-9]{1,18}+)?+"
_END = {
    Format.TEXT: rb"(?: [0-9]{1,18}+)?+\n",
    Format.OPENMETRICS: rb"(?: %b)?+(?: # %b %b(?: %b)?+)?+\n"
    % (_SECONDS, _EXEMPLAR, NUMBER, _SECONDS),
}


def _divider(end: bytes) -> re.Pattern[bytes]:
    # Plain integers come first: they are the most frequent, and the order saves a third of the
    # time. Each alternative begins with what distinguishes it from a word, as comments have many.
    choices = (
        rb"[0-9]{1,200}+\n",
        rb"[0-9][0-9]{0,199}+%b%b" % (_FRACTION, end),
        rb"[0-9]%b%b" % (_LARGE, end),
        rb"[+-](?:[0-9]%b|%b%b|Inf)%b" % (_LARGE, _DIGITS, _FRACTION, end),
        rb"Inf%b" % end,
        rb"NaN%b" % end,
    )
    return re.compile(rb"( (?:%b))" % b"|".join(choices))


_DIVIDE = {fmt: _divider(end) for fmt, end in _END.items()}


class SeriesCache:
    """One target's rewritten lines under one policy; a new policy starts with an empty cache.

    Args:
        rewriter: rewrites series under the policy.
        fmt: the body's format.
        limits: limits of a body.
        store: keeps the lines; by default the target has its own.
    """

    def __init__(
        self, rewriter: Rewriter, fmt: Format, limits: Limits, store: LineStore | None = None
    ) -> None:
        self._rewriter = rewriter
        self._format = fmt
        self._limits = limits
        self._divide = _DIVIDE[fmt]
        self._store = OwnLines(limits.cache_bytes) if store is None else store
        self._shape: Shape | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the cached lines."""
        return self._store.size_bytes

    @property
    def is_kept(self) -> bool:
        """Whether the last body's shape is cached; false if there was no room."""
        return self._shape is not None

    def read(
        self,
        body: bytes,
        is_late: Callable[[], bool] = lambda: False,
        *,
        room: int | None = None,
    ) -> Reading:
        """Parse a scrape's body, and cache the result for the next one.

        The arguments are those of `parse`.

        Raises:
            ExpositionError: as in `parse`.
            LateError: `is_late` returned True; finished work is cached, the next read continues.
        """
        try:
            return self.keep(self.parse(body, is_late, room=room))
        except LateError as error:
            self.keep_begun(error)
            raise

    def parse(
        self,
        body: bytes,
        is_late: Callable[[], bool] = lambda: False,
        *,
        room: int | None = None,
    ) -> Reading:
        """Parse a scrape's body without changing the cache, so that it may run in a thread.

        Args:
            body: the exposition.
            is_late: called before each new series, because rules may take long.
            room: samples that the other targets of the scrape leave for this one; None for any.

        Raises:
            ExpositionError: Prometheus would reject the body.
            LimitError: a limit was exceeded.
            LateError: `is_late` returned True; `keep_begun` can cache the finished work.
        """
        # One more than allowed is enough to detect an excess, and bounds the cost of the split.
        parts = self._divide.split(body, self._limits.samples + MAX_COMMENT_LINES + 1)
        heads, tails, rest = parts[:-1:2], parts[1::2], parts[-1]
        tally = _Tally(self._limits, self._limits.samples if room is None else room)
        shape = self._shape
        if shape is not None and heads == shape.heads and rest == shape.rest_text:
            tally.check(shape.samples)
            return Reading(shape, tails, len(body) - shape.head_bytes)
        del parts
        shape = self._look_up(heads, rest, is_late, tally)
        if shape is None:
            shape, tails = self._read_exactly(body, is_late, tally.anew())
        return Reading(shape, tails, sum(map(len, tails)))

    def keep(self, reading: Reading) -> Reading:
        """Cache a parsed body; its shape may be replaced by an equal one."""
        if reading.shape is self._shape:
            return reading
        self._shape = self._store.keep(reading.shape)
        return reading if self._shape is None else reading._replace(shape=self._shape)

    def keep_begun(self, error: LateError) -> None:
        """Cache what was parsed of a body before `is_late` returned True."""
        self._shape = None
        if isinstance(error, _UnfinishedError):
            self._store.keep_some(error.entries)
            error.entries = []

    def _look_up(
        self, heads: list[bytes], rest: bytes, is_late: Callable[[], bool], tally: "_Tally"
    ) -> Shape | None:
        closing = parse_rest(rest, self._format, is_late)
        if closing is None:
            return None
        entries: list[Entry] = []
        cached = self._store.entries.get
        for text in heads:
            entry = cached(text)
            if entry is None:
                head = parse_head(text, self._format)
                if head is None:
                    return None
                if is_late():
                    raise _UnfinishedError(entries)
                entry = self._make(text, head)
            entries.append(entry)
            tally.add(entry)
        last = tuple(map(self._rewriter.comment, closing))
        return Shape(entries, last, rest, tally.lines_bytes)

    def _read_exactly(
        self, body: bytes, is_late: Callable[[], bool], tally: "_Tally"
    ) -> tuple[Shape, list[bytes]]:
        entries: list[Entry] = []
        tails: list[bytes] = []
        rows = scan(body, self._format)
        while True:
            try:
                sample = next(rows)
            except StopIteration as stop:
                rest = tuple(map(self._rewriter.comment, stop.value))
                # The next body is compared with the parsed text, not with the split of this one.
                read = sum(len(entry.text) for entry in entries) + sum(map(len, tails))
                return Shape(entries, rest, body[read:], tally.lines_bytes), tails
            entry = self._store.entries.get(sample.text)
            if entry is None:
                if is_late():
                    raise _UnfinishedError(entries)
                entry = self._make(sample.text, sample.head)
            entries.append(entry)
            tails.append(sample.tail)
            tally.add(entry)

    def _make(self, text: bytes, head: Head) -> Entry:
        comments = tuple(map(self._rewriter.comment, head.comments))
        if head.series is None:
            return Entry(text, comments, has_series=False, line=None)
        check_labels(head.series, self._limits)
        line = self._rewriter.series(head.series)
        is_lost = line is LOST
        return Entry(
            text, comments, has_series=True, line=None if is_lost else line, is_lost=is_lost
        )


class _UnfinishedError(LateError):
    """Carries the finished entries: with many rules, a body may take several scrapes to read."""

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__(
            f"the rules processed only {len(entries)} samples within the scrape timeout; "
            "the next scrape continues from there"
        )
        self.entries = entries


class _Tally:
    """Checks a body against its limits while it is parsed."""

    def __init__(self, limits: Limits, room: int) -> None:
        self._limits = limits
        self._room = room
        self._samples = self._comments = 0
        self.lines_bytes = 0
        """Size of the series with their added labels."""

    def anew(self) -> "_Tally":
        """Return a new tally with the same limits."""
        return _Tally(self._limits, self._room)

    def check(self, samples: int) -> None:
        """Check a number of samples against the limits.

        Raises:
            LimitError: there are too many.
        """
        if samples > self._limits.samples:
            raise LimitError(f"more than {self._limits.samples} samples")
        if samples > self._room:
            limit = f"{self._limits.samples} samples"
            raise LimitError(f"more than {limit} from all targets in one scrape")

    def add(self, entry: Entry) -> None:
        """Count an entry.

        Raises:
            LimitError: it exceeds a limit.
        """
        self._samples += entry.has_series
        self._comments += len(entry.comments)
        if entry.line is not None:
            self.lines_bytes += len(entry.line.text)
        if self._samples > self._room or self._samples > self._limits.samples:
            self.check(self._samples)
        if self._comments > MAX_COMMENT_LINES:
            raise LimitError(f"more than {MAX_COMMENT_LINES} comment lines")
        if self.lines_bytes > self._limits.lines_bytes:
            raise LimitError(
                f"more than {self._limits.lines_bytes >> 20} MiB of series with their labels"
            )

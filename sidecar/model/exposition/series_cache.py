"""Cached lines: a scrape is mostly the same text as the last one.

One pass in C divides the body where values stand. What lies between them, the heads, is compared
with the last scrape's; if nothing changed, what became of each series is known already and only
the new values are put in. A head seen for the first time goes once through the reader and the
rewriting. Text that the quick division does not fit is read exactly: slower, with equal results.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from sidecar.errors import LateError, LimitError
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.parser import (
    MAX_COMMENT_LINES,
    Comment,
    Head,
    Series,
    check_labels,
    parse_head,
    parse_rest,
    scan,
)

# Numbers that no float64 parser finds out of range: up to 200 digits and a two-digit exponent, or
# one digit and an exponent below 300 (as in 1.7976931348623157e+208). Others are read exactly.
_DIGITS = rb"[0-9]{1,200}+"
_FRACTION = rb"(?:\.[0-9]{0,100}+)?+(?:[eE][+-]?+[0-9]{1,2}+)?+"
_LARGE = rb"(?:\.[0-9]{1,40}+)?+[eE][+-]?+[12][0-9][0-9]"
# The plain ones come first: they are nearly all there are.
NUMBER = rb"(?:%b%b|[0-9]%b|[+-](?:%b%b|[0-9]%b|Inf)|Inf|NaN)" % (
    _DIGITS, _FRACTION, _LARGE, _DIGITS, _FRACTION, _LARGE,
)  # fmt: skip
# ASCII only, so that a divided body needs no further check of its tails.
_EXEMPLAR = rb'\{(?:[a-zA-Z_][a-zA-Z0-9_]*+="[ !#-\[\]-~]*+"(?:,|(?=\})))*+\}'
_SECONDS = rb"-?+[0-9]{1,18}+(?:\.[0-9]{1,18}+)?+"
_END = {
    Format.TEXT: rb"(?: [0-9]{1,18}+)?+\n",
    Format.OPENMETRICS: rb"(?: %b)?+(?: # %b %b(?: %b)?+)?+\n"
    % (_SECONDS, _EXEMPLAR, NUMBER, _SECONDS),
}


def _divider(end: bytes) -> re.Pattern[bytes]:
    # Plain integers come first: they are most of what there is, and the order is a third of the
    # time. Each choice begins with what tells it from a word: comments have many.
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

OWN_PREFIX = b"livery_"
"""Begins the names of Livery's own metrics: an application that had them could answer for it."""


class Line(NamedTuple):
    """What a series became: its metric name and its text; None in its place where dropped.

    `is_marked` tells that the series carries the label that its target gave it.
    """

    name: bytes
    text: bytes
    is_marked: bool = False
    may_collide: bool = False
    """Whether rules or escaping may have made it the same as another."""
    is_escaped: bool = False
    """Whether names were written otherwise for the client."""


LOST = Line(b"", b"")
"""Stands for a series that cannot be told to the client: two of its labels have one name there."""


class Entry(NamedTuple):
    """What one head became. `line` is None where there was no series or it was dropped."""

    text: bytes
    comments: tuple[Comment, ...]
    has_series: bool
    line: Line | None
    is_lost: bool = False
    """Whether there is none because the client could not be told of it."""


class Reading(NamedTuple):
    """One body read: `entries[i]` goes before `tails[i]`; `rest` follows all."""

    entries: list[Entry]
    tails: list[bytes]
    rest: tuple[Comment, ...]
    samples: int
    tail_bytes: int
    lines_bytes: int = 0
    """Of the series with their labels."""


class Rewriter(Protocol):
    """What a policy makes of the parts of a head."""

    def series(self, series: Series) -> Line | None:
        """Rewrite a series; None drops it."""

    def comment(self, comment: Comment) -> Comment:
        """Rewrite a comment."""


# What the interpreter holds for an entry and its parts besides their text, rounded up.
_ENTRY_BYTES = 400
_COMMENT_BYTES = 320


class SeriesCache:
    """One target's lines under one policy; a new policy starts with an empty cache."""

    def __init__(self, rewriter: Rewriter, fmt: Format, limits: Limits) -> None:
        self._rewriter = rewriter
        self._format = fmt
        self._limits = limits
        self._divide = _DIVIDE[fmt]
        self._heads: list[bytes] = []
        self._rest = b""
        self._last: Reading | None = None
        self._entries: dict[bytes, Entry] = {}
        self._head_bytes = 0
        """Of a body like the last one, all that is no tail."""
        self.bytes = 0
        self._tally = _Tally(limits, limits.samples)

    def read(
        self,
        body: bytes,
        is_late: Callable[[], bool] = lambda: False,
        *,
        room: int | None = None,
    ) -> Reading:
        """Read a scrape's body.

        The same `entries` object comes back as long as nothing but values changed.

        Args:
            body: the exposition.
            is_late: asked before each series that is new; rules may take long.
            room: samples that other targets of the same scrape have left; None for any.

        Raises:
            ExpositionError: Prometheus would refuse the body.
            LimitError: a bound was passed.
            LateError: `is_late` said so; what was done is cached, the next read goes on there.
        """
        # One more than allowed is enough to tell, and bounds what the division may take.
        parts = self._divide.split(body, self._limits.samples + MAX_COMMENT_LINES + 1)
        heads, tails, rest = parts[:-1:2], parts[1::2], parts[-1]
        self._tally = _Tally(self._limits, self._limits.samples if room is None else room)
        if self._last is not None and heads == self._heads and rest == self._rest:
            self._tally.check(self._last.samples)
            return self._last._replace(tails=tails, tail_bytes=len(body) - self._head_bytes)
        del parts
        reading = self._look_up(heads, tails, rest, is_late)
        if reading is None:
            reading = self._read_exactly(body, is_late)
            # The next body is compared with what was read, not with how this one was divided.
            read = sum(len(entry.text) for entry in reading.entries) + reading.tail_bytes
            rest = body[read:]
        self._keep(reading, rest)
        return reading

    def forget(self) -> None:
        """Empty the cache."""
        self._heads, self._rest, self._last, self._entries = [], b"", None, {}
        self._head_bytes = self.bytes = 0

    def _look_up(
        self, heads: list[bytes], tails: list[bytes], rest: bytes, is_late: Callable[[], bool]
    ) -> Reading | None:
        closing = parse_rest(rest, self._format)
        if closing is None:
            return None
        entries: list[Entry] = []
        tally = self._tally
        cached = self._entries.get
        for text in heads:
            entry = cached(text)
            if entry is None:
                head = parse_head(text, self._format)
                if head is None:
                    return None
                if is_late():
                    raise self._stop(entries)
                entry = self._make(text, head)
            entries.append(entry)
            tally.add(entry)
        last = tuple(map(self._rewriter.comment, closing))
        return tally.reading(entries, tails, last)

    def _read_exactly(self, body: bytes, is_late: Callable[[], bool]) -> Reading:
        entries: list[Entry] = []
        tails: list[bytes] = []
        tally = self._tally = self._tally.anew()
        rows = scan(body, self._format)
        while True:
            try:
                sample = next(rows)
            except StopIteration as stop:
                rest = tuple(map(self._rewriter.comment, stop.value))
                return tally.reading(entries, tails, rest)
            entry = self._entries.get(sample.text)
            if entry is None:
                if is_late():
                    raise self._stop(entries)
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

    def _keep(self, reading: Reading, rest: bytes) -> None:
        size = len(rest) + _COMMENT_BYTES * len(reading.rest)
        size += sum(map(_size, reading.entries))
        self.forget()
        if size > self._limits.cache_bytes:
            return
        self._heads = [entry.text for entry in reading.entries]
        self._rest = rest
        self._last = reading._replace(tails=[])
        self._head_bytes = sum(map(len, self._heads)) + len(rest)
        self._entries = dict(zip(self._heads, reading.entries, strict=True))
        self.bytes = size

    def _stop(self, entries: list[Entry]) -> LateError:
        """Keep what is done already, so that a workload under many rules is read in the end."""
        self.forget()
        for entry in entries:
            size = self.bytes + _size(entry)
            if size > self._limits.cache_bytes:
                break
            self._entries[entry.text] = entry
            self.bytes = size
        return LateError(
            f"only {len(entries)} samples could be put through the rules in the scrape's time; "
            "the next scrape goes on from there"
        )


def _size(entry: Entry) -> int:
    size = _ENTRY_BYTES + 2 * len(entry.text) + _COMMENT_BYTES * len(entry.comments)
    # Its line stands here and in the plan of the answer.
    return size if entry.line is None else size + 2 * len(entry.line.text)


class _Tally:
    """Counts what a body holds against its limits, while it is read."""

    def __init__(self, limits: Limits, room: int) -> None:
        self._limits = limits
        self._room = room
        self._samples = self._comments = self._lines_bytes = 0

    def reading(
        self, entries: list[Entry], tails: list[bytes], rest: tuple[Comment, ...]
    ) -> Reading:
        """Give what was counted, with the rest of what was read."""
        tail_bytes = sum(map(len, tails))
        return Reading(entries, tails, rest, self._samples, tail_bytes, self._lines_bytes)

    def anew(self) -> "_Tally":
        """Begin with the same bounds."""
        return _Tally(self._limits, self._room)

    def check(self, samples: int) -> None:
        """Hold a number of samples to the bounds.

        Raises:
            LimitError: there are more.
        """
        if samples > self._limits.samples:
            raise LimitError(f"more than {self._limits.samples} samples")
        if samples > self._room:
            limit = f"{self._limits.samples} samples"
            raise LimitError(f"more than {limit} from all targets in one scrape")

    def add(self, entry: Entry) -> None:
        """Count an entry in.

        Raises:
            LimitError: it is the one too many.
        """
        self._samples += entry.has_series
        self._comments += len(entry.comments)
        if entry.line is not None:
            self._lines_bytes += len(entry.line.text)
        if self._samples > self._room or self._samples > self._limits.samples:
            self.check(self._samples)
        if self._comments > MAX_COMMENT_LINES:
            raise LimitError(f"more than {MAX_COMMENT_LINES} comment lines")
        if self._lines_bytes > self._limits.lines_bytes:
            raise LimitError(
                f"the series with their labels are over {self._limits.lines_bytes >> 20} MiB"
            )

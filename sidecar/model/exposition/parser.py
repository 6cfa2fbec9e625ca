"""Exact parser of the two text formats, with every quirk of Prometheus 3.x's own parsers.

A sample line is a *head* (the comment lines before it and the series: name and labels) and a
*tail* (value, timestamp, exemplar, newline). Heads repeat from scrape to scrape, tails change;
`series_cache` relies on that. Nothing is cached here.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/; where they and Prometheus's `textparse`
differ, `textparse` wins, because it decides what a user's Prometheus ingests.

Some input is rejected although `textparse` accepts it, because data would be lost silently or the
whole scrape would fail later: a NUL byte outside a label value or HELP text, trailing blanks on an
OpenMetrics line, an empty name in HELP or TYPE, names that are not UTF-8, duplicate labels.
"""

import math
import re
from collections.abc import Callable, Generator

from sidecar.errors import ExpositionError, LateError, LimitError
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.grammar import GRAMMARS, ITEM, PLAIN, PLAIN_ITEM, Grammar
from sidecar.model.exposition.samples import Comment, CommentKind, Head, Sample, Series, show_text

_TIMESTAMP_MAX_MS = 2**63 - 1
_CRLF = "the line ends in CR LF; only LF is allowed"

MAX_SERIES_BYTES = 256 << 10
"""Maximum size of one series' text; bounds the cost of parsing its labels."""
MAX_COMMENT_LINES = 100_000
"""Maximum number of comment and blank lines in a row: two per sample that a pod may expose."""
_COMMENTS_BETWEEN_CLOCKS = 1000
"""Comments that are parsed between two checks of the time."""


def scan(body: bytes, fmt: Format) -> Generator[Sample, None, tuple[Comment, ...]]:
    """Parse a whole exposition, sample by sample; returns the comments after the last one.

    Args:
        body: the decompressed body.
        fmt: the body's format.

    Raises:
        ExpositionError: the first thing that Prometheus would reject, with its line number.
    """
    if fmt is Format.TEXT and body and not body.endswith(b"\n"):
        body += b"\n"
    grammar = GRAMMARS[fmt]
    position, end = 0, len(body)
    while position < end:
        start = position
        comments, position = _read_comments(body, position, fmt)
        if position == end or _is_eof_line(body, position, fmt):
            break
        series, position = _read_series(body, position, grammar)
        series = _share_name(series, comments)
        tail = _read_tail(body, position, fmt)
        yield Sample(body[start:position], Head(tuple(comments), series), tail)
        position += len(tail)
    else:
        comments = []
    if fmt is Format.OPENMETRICS and position == end:
        raise ExpositionError(_line(body, end), "the body does not end with # EOF")
    return tuple(comments)


def parse_head(text: bytes, fmt: Format) -> Head | None:
    """Parse a head on its own; None if that is not possible without the text around it.

    A head parsed here, if a tail of plain numbers follows it, has the same meaning in every body:
    parsing goes from left to right, and a tail ends its line.
    """
    if len(text) > MAX_SERIES_BYTES:
        return None
    plain = PLAIN.fullmatch(text)
    if plain is not None and (series := _plain_series(plain)) is not None:
        return Head((), series)
    try:
        text.decode()
        comments, position = _read_comments(text, 0, fmt)
        if position == len(text):
            is_open = bool(comments) and _stays_open(comments[-1])
            return Head(tuple(comments), None) if is_open else None
        series, position = _read_series(text, position, GRAMMARS[fmt])
        series = _share_name(series, comments)
    except (UnicodeDecodeError, ExpositionError):
        return None
    return Head(tuple(comments), series) if position == len(text) else None


def parse_rest(
    text: bytes, fmt: Format, is_late: Callable[[], bool] = lambda: False
) -> tuple[Comment, ...] | None:
    """Parse what follows the last tail; None unless it is only comments with a valid end.

    Raises:
        LateError: `is_late` returned True.
    """
    if fmt is Format.TEXT:
        if text and (not text.endswith(b"\n") or b"\0" in text):
            return None
    elif not text.endswith((b"# EOF", b"# EOF\n")):
        return None
    try:
        text.decode()
        comments, position = _read_comments(text, 0, fmt, is_late)
        at_end = position == len(text) if fmt is Format.TEXT else _is_eof_line(text, position, fmt)
    except LateError:
        raise
    except (UnicodeDecodeError, ExpositionError):
        return None
    return tuple(comments) if at_end else None


def _share_name(series: Series, comments: list[Comment]) -> Series:
    is_same = bool(comments) and comments[-1].name == series.name
    return series._replace(name=comments[-1].name) if is_same else series


def _plain_series(match: re.Match[bytes]) -> Series | None:
    block = match[2]
    if not block:
        return Series(match[1], (), match[0])
    labels = tuple(PLAIN_ITEM.findall(block))
    names = {name for name, _ in labels}
    if len(names) != len(labels) or b"__name__" in names:
        return None
    if not block.isascii():
        try:
            block.decode()
        except UnicodeDecodeError:
            return None
    return Series(match[1], labels, match[0])


def _stays_open(last: Comment) -> bool:
    if last.raw.endswith(b"\n"):
        return False
    if last.kind is CommentKind.FREE:
        return last.raw.split()[-1:] not in ([b"HELP"], [b"TYPE"], [b"UNIT"])
    return last.kind is CommentKind.HELP


def _read_comments(
    body: bytes, position: int, fmt: Format, is_late: Callable[[], bool] = lambda: False
) -> tuple[list[Comment], int]:
    grammar = GRAMMARS[fmt]
    comments: list[Comment] = []
    end = len(body)
    while position < end and body[position] in b"# \t\n":
        blank = grammar.blank.match(body, position)
        if blank is not None:
            comment = Comment(CommentKind.FREE, b"", b"", blank[0])
        elif grammar.comment_start.match(body, position) is None:
            break  # blanks before a sample
        elif _is_eof_line(body, position, fmt):
            break
        else:
            comment = _read_comment(body, position, fmt)
            if comments and comments[-1].name == comment.name:
                # A family's comments share one name object: there may be very many comments.
                comment = comment._replace(name=comments[-1].name)
        comments.append(comment)
        position += len(comment.raw)
        if not len(comments) % _COMMENTS_BETWEEN_CLOCKS and is_late():
            raise LateError(
                f"only {len(comments)} comment lines could be read within the scrape timeout"
            )
        if len(comments) > MAX_COMMENT_LINES:
            raise LimitError(f"more than {MAX_COMMENT_LINES} comment lines in a row")
    return comments, position


def _read_comment(body: bytes, position: int, fmt: Format) -> Comment:
    meta = GRAMMARS[fmt].meta.match(body, position)
    # A quoted name may contain newlines: search for the end of the line after it.
    newline = body.find(b"\n", position if meta is None else meta.end())
    raw = body[position : len(body) if newline < 0 else newline + 1]
    if meta is None:
        if fmt is Format.OPENMETRICS:
            raise ExpositionError(
                _line(body, position), "only HELP, TYPE, UNIT and EOF comments are allowed"
            )
        if b"\0" in raw:
            raise ExpositionError(_line(body, position), "a NUL byte in a comment")
        return Comment(CommentKind.FREE, b"", b"", raw)
    name = meta[2] if meta[3] is None else meta[3][1:-1]
    if not name:
        raise ExpositionError(_line(body, position), f"no metric name after {meta[1].decode()}")
    kind = CommentKind(meta[1].decode().lower())
    text = raw[meta.end() - position :].removesuffix(b"\n")
    reason = _refuse_comment(kind, name, text, fmt)
    if reason:
        raise ExpositionError(_line(body, position), reason)
    return Comment(kind, unescape(name), text[1:], raw)


def _refuse_comment(kind: CommentKind, name: bytes, rest: bytes, fmt: Format) -> str:
    """Return what is wrong with a comment; `rest` begins with the character after the name."""
    text = rest[1:]
    if fmt is Format.OPENMETRICS and not rest.startswith(b" "):
        return f"no text after {kind.upper()} and the metric name"
    if rest.startswith(b"\0") or b"\0" in name:
        return "a NUL byte in a metric name"
    if text.endswith(b"\r") and kind is not CommentKind.HELP:
        return _CRLF
    if kind is CommentKind.TYPE and text not in GRAMMARS[fmt].types:
        return f"{show_text(text)} is not a metric type"
    if kind is CommentKind.UNIT and text and not name.endswith(b"_" + text):
        return f"unit {show_text(text)} is not a suffix of {show_text(name)}"
    if not _is_utf8(name):
        return "a metric name is not valid UTF-8"
    if kind is CommentKind.HELP and not _is_utf8(text):
        return "a HELP text is not valid UTF-8"
    return ""


def _read_series(body: bytes, position: int, grammar: Grammar) -> tuple[Series, int]:
    match = grammar.series.match(body, position)
    if match is None or (match[1] is None and match[2] is None):
        raise ExpositionError(_line(body, position), _describe(body, position))
    if match.end() - position > MAX_SERIES_BYTES:
        raise LimitError(f"a series of more than {MAX_SERIES_BYTES} bytes")
    name: bytes | None = match[1]
    labels: list[tuple[bytes, bytes]] = []
    for plain, quoted, value in (item.groups() for item in ITEM.finditer(match[2] or b"")):
        label: bytes = unescape(quoted) if plain is None else plain
        if value is not None:
            labels.append((label, value))
        elif name is None:
            name = label
        else:
            raise ExpositionError(_line(body, position), "the metric name is given twice")
    if match[2] is None and body[match.end() : match.end() + 1] == b"{":
        raise ExpositionError(_line(body, position), "the label set is not well-formed")
    if not name:
        raise ExpositionError(_line(body, position), "there is no metric name")
    _check_series(body, position, name, labels)
    return Series(name, tuple(labels), match[0]), match.end()


def _check_series(
    body: bytes, position: int, name: bytes, labels: list[tuple[bytes, bytes]]
) -> None:
    # Prometheus's parser lets these through; its scrape loop then fails the whole scrape.
    _check_utf8(body, position, name, "a metric name")
    if b"\0" in name or any(b"\0" in label for label, _ in labels):
        raise ExpositionError(_line(body, position), "a NUL byte in a name")
    seen: set[bytes] = set()
    for label, value in labels:
        if label in seen:
            raise ExpositionError(
                _line(body, position), f"label name {show_text(label)} is not unique"
            )
        if label in (b"__name__", b""):
            raise ExpositionError(_line(body, position), f"a label is named {show_text(label)}")
        seen.add(label)
        _check_utf8(body, position, label, "a label name")
        _check_utf8(body, position, value, "a label value")


def _read_tail(body: bytes, position: int, fmt: Format) -> bytes:
    match = GRAMMARS[fmt].tail.match(body, position)
    if match is None:
        raise ExpositionError(_line(body, position), _describe(body, position))
    _check_number(body, position, match[1])
    if fmt is Format.TEXT:
        stamp = (match[2] or b"").lstrip(b"0")
        if len(stamp) > 19 or int(stamp or b"0") > _TIMESTAMP_MAX_MS:
            raise ExpositionError(_line(body, position), "the timestamp is out of range")
    else:
        _check_openmetrics_tail(body, position, match)
    return match[0]


def _check_openmetrics_tail(body: bytes, position: int, match: re.Match[bytes]) -> None:
    for stamp in (match[2], match[5]):
        if stamp is not None:
            _check_number(body, position, stamp)
            if not math.isfinite(float(stamp)):
                raise ExpositionError(_line(body, position), "the timestamp is not finite")
    if match[4] is not None:
        _check_number(body, position, match[4])
        _check_utf8(body, position, match[3], "an exemplar")


def _check_number(body: bytes, position: int, text: bytes) -> None:
    if text[-1:].isdigit() and math.isinf(float(text)):
        raise ExpositionError(_line(body, position), f"{show_text(text)} is out of range")


def _check_utf8(body: bytes, position: int, text: bytes, what: str) -> None:
    if not _is_utf8(text):
        raise ExpositionError(_line(body, position), f"{what} is not valid UTF-8")


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_eof_line(body: bytes, position: int, fmt: Format) -> bool:
    if fmt is Format.TEXT or not body.startswith(b"# EOF", position):
        return False
    if position + 5 < len(body) and body[position + 5 :] != b"\n":
        raise ExpositionError(_line(body, position), "there is data after # EOF")
    return True


def _describe(body: bytes, position: int) -> str:
    start = body.rfind(b"\n", 0, position) + 1
    stop = body.find(b"\n", position)
    line = body[start : stop if stop >= 0 else len(body)]
    where = position - start
    rest = line[where:].strip()
    if b"\r" in line[-1:]:
        return _CRLF
    if start == 0 and line.startswith(b"\xef\xbb\xbf"):
        return "the body begins with a byte order mark (BOM), which is not allowed"
    if b" # {" in line and not body.rstrip().endswith(b"# EOF"):
        return "the line has an exemplar, which only OpenMetrics allows; check the Content-Type"
    if not rest:
        return f"{show_text(line)} has no value"
    return f"cannot read {show_text(rest)} in {show_text(line)}"


def _line(body: bytes, position: int) -> int:
    return body.count(b"\n", 0, position) + 1

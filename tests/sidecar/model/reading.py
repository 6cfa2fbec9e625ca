"""The results of our reader and of the oracle for a body, in one form."""

import math
import re
from typing import Any

from sidecar.errors import ExpositionError
from sidecar.model.exposition.escapes import unescape
from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.parser import scan
from sidecar.model.exposition.samples import Comment, CommentKind, Sample
from tests.real_parts.oracle import Parsed

Row = tuple[Any, ...]

DELIBERATE = (
    "is not unique",
    "a label is named",
    "name is not valid UTF-8",
    "an exemplar is not valid UTF-8",
    "no metric name after",
    "a NUL byte",
)
"""Errors of our reader that Prometheus's parser does not have; mostly its scrape loop does."""

_PAIR = re.compile(rb'(?:([a-zA-Z_]\w*)|"((?:\\.|[^"\\])*)")="((?:\\.|[^"\\])*)"')
_TAIL = re.compile(
    rb"[ \t]*([^ \t\n]+)(?:[ \t]+([^ \t\n#]+))?(?: # \{(.*)\} (\S+)(?: (\S+))?)?[ \t]*\n"
)


def read(body: bytes, fmt: Format) -> list[Row] | str:
    """The rows of a body according to our reader, or its error."""
    rows: list[Row] = []
    samples = scan(body, fmt)
    try:
        while True:
            sample = next(samples)
            rows += [_comment(comment, fmt) for comment in sample.head.comments]
            rows.append(_sample(sample, fmt))
    except StopIteration as stop:
        rows += [_comment(comment, fmt) for comment in stop.value]
    except ExpositionError as error:
        return error.reason
    return [row for row in rows if row]


def told(parsed: Parsed) -> list[Row] | str:
    """The rows of a body according to the oracle, or its error."""
    if parsed.error is not None:
        return parsed.error
    return [row for row in map(_told, parsed.entries) if row]


def number(text: str | bytes) -> str:
    return repr(float(text))


def _comment(comment: Comment, fmt: Format) -> Row:
    if comment.kind is CommentKind.FREE:
        return ()
    name, text = _text(comment.name), _text(comment.text)
    if comment.kind is CommentKind.HELP:
        escapes = r"\\([\\n])" if fmt is Format.TEXT else r'\\([\\n"])'
        text = re.sub(escapes, lambda match: "\n" if match[1] == "n" else match[1], text)
    if comment.kind is CommentKind.HELP and fmt is Format.TEXT and not text.strip(" \t\0"):
        return ("help", name, "")
    if (comment.kind, text) == (CommentKind.TYPE, "unknown"):
        text = "untyped"
    return (comment.kind.value, name, text)


def _sample(sample: Sample, fmt: Format) -> Row:
    series = sample.head.series
    assert series is not None
    match = _TAIL.fullmatch(sample.tail)
    assert match is not None, sample.tail
    exemplar = None
    if match[4] is not None:
        pairs = [
            (unescape(plain or quoted), value) for plain, quoted, value in _PAIR.findall(match[3])
        ]
        # Prometheus leaves escapes in an exemplar's values as they are.
        raw = sorted((_text(name), _text(value)) for name, value in pairs if value)
        exemplar = (raw, number(match[4]), _milliseconds(match[5]))
    stamp = _milliseconds(match[2]) if fmt is Format.OPENMETRICS else match[2] and int(match[2])
    return ("series", _text(series.name), _labels(series.labels), number(match[1]), stamp, exemplar)


def _milliseconds(seconds: bytes | None) -> int | None:
    if seconds is None:
        return None
    # Go's result of an overflow depends on the machine: here it is the smallest integer.
    value = float(seconds) * 1000
    return int(value) if math.isfinite(value) and abs(value) < 2**63 else -(2**63)


def _labels(labels: Any) -> list[tuple[str, str]]:
    return sorted((_text(name), _text(unescape(value))) for name, value in labels if value)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _told(entry: dict[str, Any]) -> Row:
    match entry["kind"]:
        case "series":
            found = entry["exemplar"]
            exemplar = found and (_pairs(found), number(found["value"]), found["timestamp_ms"])
            stamp = entry["timestamp_ms"]
            return ("series", entry["name"], _pairs(entry), number(entry["value"]), stamp, exemplar)
        case "comment":
            return ()
        case kind:
            name = _text(unescape(_raw(entry["name"])))
            text = next(entry[key] for key in ("text", "type", "unit") if key in entry)
            return (kind, name, "untyped" if (kind, text) == ("type", "unknown") else text)


def _pairs(entry: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in entry["labels"])

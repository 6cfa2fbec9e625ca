"""Converts OpenMetrics to text 0.0.4, for clients and merges that accept nothing else.

Names, labels and values stay as written. A counter's family gets the name of its samples, as the
text format requires; exemplars, units and `# EOF` are removed; timestamps become milliseconds;
types that the text format lacks become the nearest one or `untyped`.

Source: https://prometheus.io/docs/specs/om/open_metrics_spec/#text-format
"""

import re

from sidecar.model.exposition.formats import Format
from sidecar.model.exposition.names import is_plain_metric_name
from sidecar.model.exposition.parser import scan
from sidecar.model.exposition.samples import Comment, CommentKind

_TYPES = {
    b"counter": b"counter",
    b"gauge": b"gauge",
    b"histogram": b"histogram",
    b"summary": b"summary",
    b"info": b"gauge",
    b"stateset": b"gauge",
}
_NAME_SUFFIXES = {b"counter": b"_total", b"info": b"_info"}
_MAX_MILLISECONDS = 2**63 - 1
_TAIL = re.compile(rb" ([^ \n]+)(?: ([^ #\n]+))?")


def openmetrics_to_text(body: bytes) -> bytes:
    """Convert a whole exposition.

    Raises:
        ExpositionError: Prometheus would reject the body.
    """
    parts: list[bytes] = []
    types: dict[bytes, bytes] = {}
    for sample in scan(body, Format.OPENMETRICS):
        types.update(
            {item.name: item.text for item in sample.head.comments if item.kind is CommentKind.TYPE}
        )
        series = sample.head.series
        # Prometheus accepts a counter's sample without the suffix; the family then has none either.
        bare = b"" if series is None else series.name
        parts += [_convert_comment(comment, types, bare) for comment in sample.head.comments]
        if sample.head.series is not None and (tail := _convert_tail(sample.tail)):
            parts += [sample.head.series.raw, tail]
    return b"".join(parts)


def _convert_comment(comment: Comment, types: dict[bytes, bytes], bare: bytes) -> bytes:
    if comment.kind is CommentKind.UNIT:
        return b""
    kind = types.get(comment.name, b"")
    name = comment.name
    if name != bare:
        name += _NAME_SUFFIXES.get(kind, b"")
    if not is_plain_metric_name(name):
        name = b'"%b"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    text = comment.text
    if comment.kind is CommentKind.TYPE:
        text = _TYPES.get(text, b"untyped")
    else:
        text = text.replace(b'\\"', b'"')
    return b"# %b %b %b\n" % (comment.kind.upper().encode(), name, text)


def _convert_tail(tail: bytes) -> bytes:
    """Convert a sample's tail; empty for a timestamp before 1970, which text cannot express.

    Without its timestamp the sample would be taken for a current one.
    """
    match = _TAIL.match(tail)
    if match is None or match[2] is None:
        return tail.split(b" # ", 1)[0].rstrip(b"\n") + b"\n"
    # A clamped timestamp is still far in the future: Prometheus drops that one sample.
    milliseconds = int(max(-1.0, min(float(match[2]) * 1000, _MAX_MILLISECONDS)))
    if milliseconds < 0:
        return b""
    return b" %b %d\n" % (match[1], milliseconds)

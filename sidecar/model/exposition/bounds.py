"""Bucket bounds and quantiles, normalized as in Prometheus.

Prometheus's text parser rewrites `le` under a histogram and `quantile` under a summary, so that "1"
and "1.0" are one series. Whether it does depends on the TYPE line before a sample.

Source: `normalizeFloatsInLabelValues` and `formatOpenMetricsFloat` in Prometheus's
`model/textparse`.
"""

import math
import re

_LABEL = {
    b"histogram": re.compile(rb'([{,][ \t]*(?:le|"le")[ \t]*=[ \t]*")([^"\\]*)(")'),
    b"summary": re.compile(rb'([{,][ \t]*(?:quantile|"quantile")[ \t]*=[ \t]*")([^"\\]*)(")'),
}
_NUMBER = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|infinity)|nan",
    re.IGNORECASE,
)


def write_bounds(text: bytes, kind: bytes) -> bytes:
    """Normalize a series' bound as Prometheus does under a type.

    Args:
        text: the series.
        kind: the type before it; only under histogram and summary does anything change.
    """
    pattern = _LABEL.get(kind)
    return text if pattern is None else pattern.sub(_rewrite, text)


def _rewrite(match: re.Match[bytes]) -> bytes:
    if _NUMBER.fullmatch(match[2]) is None:
        return match[0]
    value = float(match[2])
    if math.isinf(value) and b"i" not in match[2].lower():
        return match[0]  # out of range in Go, which leaves it unchanged
    return match[1] + format_float(value) + match[3]


def format_float(value: float) -> bytes:
    """Format a number as in OpenMetrics: Go's shortest form, with a point or an exponent."""
    if math.isnan(value):
        return b"NaN"
    if not value:
        return b"0.0"
    if math.isinf(value):
        return b"+Inf" if value > 0 else b"-Inf"
    # Imported on first use: it takes a megabyte, and few bodies need it.
    from decimal import Decimal

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    minus = "-" if sign else ""
    # Go's %g uses an exponent below 1e-4 and from 1e6 on.
    if not -4 < point <= 6:
        mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
        return f"{minus}{mantissa}e{point - 1:+03d}".encode()
    if point <= 0:
        return f"{minus}0.{'0' * -point}{text}".encode()
    return f"{minus}{text[:point].ljust(point, '0')}.{text[point:] or '0'}".encode()

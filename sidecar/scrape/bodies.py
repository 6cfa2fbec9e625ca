"""Converts a target's response to the format in which it is parsed."""

from sidecar.errors import LimitError, UpstreamError
from sidecar.model.exposition.formats import Format, format_of_body
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.openmetrics import openmetrics_to_text
from sidecar.model.exposition.parser import MAX_COMMENT_LINES
from sidecar.scrape.fetch import Fetched


def text_of(fetched: Fetched, wanted: Format, fallback: Format | None, limits: Limits) -> bytes:
    """Return a target's exposition; OpenMetrics is converted if `wanted` is the text format.

    Args:
        fetched: the target's response.
        wanted: format of the response that it becomes a part of.
        fallback: format for a missing or unsupported Content-Type.
        limits: limits of the target.

    Raises:
        UpstreamError: the Content-Type is not that of a text exposition.
        LimitError: it has too many lines.
        ExpositionError: it is not valid OpenMetrics.
    """
    fmt = format_of_body(fetched.content_type, fallback)
    if fmt is None:
        raise UpstreamError(
            f"answered Content-Type {fetched.content_type[:80]!r}, which is not a text "
            "exposition; if the body is one, annotate the pod with "
            "livery.dev/fallback-protocol: PrometheusText0.0.4"
        )
    if fmt is Format.OPENMETRICS and wanted is Format.TEXT:
        # Checked before the conversion, during which each line takes many times its length.
        limit = limits.samples + MAX_COMMENT_LINES
        if fetched.body.count(b"\n") > limit:
            raise LimitError(f"more than {limit} lines of OpenMetrics")
        return openmetrics_to_text(fetched.body)
    return fetched.body

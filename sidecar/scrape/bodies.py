"""The text of what a target answered, in the format in which it is read."""

from sidecar.errors import LimitError, UpstreamError
from sidecar.model.exposition.formats import Format, format_of_body
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.openmetrics import openmetrics_to_text
from sidecar.model.exposition.parser import MAX_COMMENT_LINES
from sidecar.scrape.fetch import Fetched


def text_of(fetched: Fetched, wanted: Format, fallback: Format | None, limits: Limits) -> bytes:
    """Return a target's exposition; OpenMetrics as text where that is wanted.

    Args:
        fetched: what it answered.
        wanted: the format of the answer that it becomes a part of.
        fallback: its format where its Content-Type says nothing that can be read.
        limits: its bounds.

    Raises:
        UpstreamError: it is not an exposition in text.
        LimitError: it has too many lines.
        ExpositionError: it is not valid OpenMetrics.
    """
    fmt = format_of_body(fetched.content_type, fallback)
    if fmt is None:
        raise UpstreamError(
            f"answered Content-Type {fetched.content_type[:80]!r}, which is not a text "
            "exposition; where the body is one, annotate the pod with "
            "livery.dev/fallback-protocol: PrometheusText0.0.4"
        )
    if fmt is Format.OPENMETRICS and wanted is Format.TEXT:
        # Checked before it is converted: each line takes many times its length while it is.
        limit = limits.samples + MAX_COMMENT_LINES
        if fetched.body.count(b"\n") > limit:
            raise LimitError(f"more than {limit} lines of OpenMetrics")
        return openmetrics_to_text(fetched.body)
    return fetched.body

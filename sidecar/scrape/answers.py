"""Renders a scrape as an HTTP response for its client."""

from collections.abc import Mapping

from sidecar.http.messages import Response
from sidecar.http.negotiation import GZIP_MIN_BYTES, takes_gzip
from sidecar.model.exposition.formats import Negotiated, content_type
from sidecar.scrape.rendering import Scrape


def render_scrape(scrape: Scrape, wanted: Negotiated, headers: Mapping[str, str]) -> Response:
    """Return a scrape's HTTP response, compressed if the client accepts gzip."""
    if scrape.status != 200:
        return Response(scrape.status, scrape.body + b"\n")
    kind = content_type(wanted._replace(fmt=scrape.fmt))
    vary = ("Vary", "Accept, Accept-Encoding")
    if len(scrape.body) < GZIP_MIN_BYTES or not takes_gzip(headers.get("accept-encoding", "")):
        return Response(200, scrape.body, kind, (vary,))
    return Response(200, scrape.gzipped, kind, (vary, ("Content-Encoding", "gzip")))

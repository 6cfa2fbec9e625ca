"""Decodes the framing of response bodies as they arrive."""

from collections import deque

import httptools

from sidecar.errors import UpstreamError
from sidecar.http.head import Framing, Head

MAX_HEADER_BYTES = 64 << 10
"""Maximum size of a head, and of chunk sizes and trailers between two parts of a body."""
_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Body:
    """One body; parts that have arrived wait in `parts`."""

    def __init__(self, head: Head) -> None:
        self.parts: deque[bytes] = deque()
        self.buffered_bytes = 0
        """Bytes in `parts`."""
        self.is_whole = head.framing is Framing.NONE
        self.has_surplus = False
        """Whether more than the body arrived: the server sent data without a request."""
        self._ends_with_connection = head.framing is Framing.CLOSE
        self._left_bytes = head.length if head.framing is Framing.LENGTH else None
        self._chunks = _Chunks(self) if head.framing is Framing.CHUNKED else None

    def feed(self, data: bytes) -> None:
        """Process received bytes.

        Raises:
            UpstreamError: the chunks are malformed, or their sizes or trailers are too long.
        """
        if not data:
            return
        if self.is_whole:
            self.has_surplus = True
        elif self._chunks is not None:
            try:
                self._chunks.feed(data)
            except UpstreamError:
                self._end_chunks()
                raise
            if self.is_whole:
                self._end_chunks()
        elif self._left_bytes is None:
            self.add(data)
        else:
            self.add(data[: self._left_bytes] if len(data) > self._left_bytes else data)
            self.has_surplus = len(data) > self._left_bytes
            self._left_bytes -= min(len(data), self._left_bytes)
            self.is_whole = not self._left_bytes

    def close(self, *, is_clean: bool) -> None:
        """Note that no more bytes will arrive.

        Args:
            is_clean: whether the server closed the connection in an orderly way.
        """
        self._end_chunks()
        self.is_whole = self.is_whole or (is_clean and self._ends_with_connection)

    def add(self, part: bytes) -> None:
        """Keep a part for the reader."""
        self.parts.append(part)
        self.buffered_bytes += len(part)

    def _end_chunks(self) -> None:
        # The parser and its callbacks reference each other: without the cycle they are freed now.
        if self._chunks is not None:
            self._chunks.end()
            self._chunks = None


class _Chunks:
    """The parser of a chunked body: it is fed a constant head, so that it only parses chunks."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._since_part = 0
        """Bytes received since the last part of the body, in units of whole reads."""
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # As in Go, `5 \r\n` is a chunk size.
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._parser.feed_data(_CHUNKED_HEAD)

    def feed(self, data: bytes) -> None:
        if self._parser is None:
            return
        self._since_part += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._body.is_whole:
                raise UpstreamError(f"the response's chunks are invalid: {error}") from None
            self._body.has_surplus = True
        if self._since_part > MAX_HEADER_BYTES and not self._body.is_whole:
            raise UpstreamError(f"more than {MAX_HEADER_BYTES} bytes of chunk sizes or trailers")

    def end(self) -> None:
        self._parser = None

    # httptools callbacks

    def on_body(self, part: bytes) -> None:
        if not self._body.is_whole:
            self._since_part = 0
            self._body.add(part)

    def on_message_begin(self) -> None:
        self._body.has_surplus = self._body.is_whole

    def on_message_complete(self) -> None:
        self._body.is_whole = True

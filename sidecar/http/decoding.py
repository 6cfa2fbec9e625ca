"""Decodes the content coding of bodies, a bounded piece at a time."""

import zlib
from collections.abc import Iterator

from sidecar.errors import UpstreamError

_GZIP_WINDOW_BITS = 31
_PIECE_BYTES = 1 << 18


class Decoder:
    """Decodes one body.

    Args:
        coding: the Content-Encoding header. Only gzip is decoded, as in Prometheus; a body in
            anything else is read as it is, because the header is wrong more often than the body.
    """

    def __init__(self, coding: str) -> None:
        self.is_identity = coding.lower() != "gzip"
        self._inflate = None if self.is_identity else zlib.decompressobj(_GZIP_WINDOW_BITS)

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of the next part of the body, at most 256 KiB at a time.

        So the caller's limits stop a decompression bomb before it fills the memory.

        Raises:
            UpstreamError: the part is damaged.
        """
        if self._inflate is None:
            yield data
            return
        while data:
            if self._inflate.eof:
                # A body may have several members, one after another (RFC 1952, section 2.2).
                self._inflate = zlib.decompressobj(_GZIP_WINDOW_BITS)
            try:
                plain = self._inflate.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise UpstreamError(f"the gzip body is damaged: {error}") from error
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
            yield plain

    def finish(self) -> None:
        """Check that the body was complete.

        Raises:
            UpstreamError: it was not.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise UpstreamError("the gzip body is incomplete or followed by other data")

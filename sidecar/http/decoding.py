"""Bodies out of their content coding, a bounded piece at a time."""

import zlib
from collections.abc import Iterator

from sidecar.errors import UpstreamError

_GZIP_WINDOW_BITS = 31
_PIECE_BYTES = 1 << 18
_CODINGS = ("identity", "gzip", "x-gzip")


class Decoder:
    """Decodes one body.

    Args:
        coding: the Content-Encoding header; empty for none.

    Raises:
        UpstreamError: the coding is not one that is read here.
    """

    def __init__(self, coding: str) -> None:
        coding = coding.lower() or "identity"
        if coding not in _CODINGS:
            raise UpstreamError(f"the answer's content encoding {coding[:40]!r} is not known")
        self.is_identity = coding == "identity"
        self._inflate = None if self.is_identity else zlib.decompressobj(_GZIP_WINDOW_BITS)

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next part of the body holds, at most 256 KiB at once.

        So a bomb meets the caller's bounds before it has gone off.

        Raises:
            UpstreamError: it is damaged.
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
        """Check that the body was whole.

        Raises:
            UpstreamError: it broke off.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise UpstreamError("the gzip body broke off")

"""Content codings: what a client accepts, and gzip."""

import contextlib
import re
from collections.abc import AsyncGenerator

GZIP_MIN_BYTES = 512
"""A smaller body is sent uncompressed."""
_GZIP_WINDOW = 31


def takes_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header accepts gzip."""
    for entry in header.lower().split(",")[:32]:
        coding, _, parameters = entry.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q=0(\.0*)?\s*", parameters) is None
    return False


def compress(body: bytes) -> bytes:
    """Compress a body with gzip, at a level that costs little CPU."""
    # Imported on first use: not every proxy is ever asked for gzip.
    from isal import igzip

    return bytes(igzip.compress(body, 1))


async def compress_parts(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Compress a streamed body."""
    # Imported on first use: not every scraper asks for gzip.
    from isal import isal_zlib

    compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP_WINDOW)
    is_first = True
    async with contextlib.aclosing(parts):
        async for part in parts:
            data = compressor.compress(part)
            if is_first:
                # Flushed, so that the scraper sees that the response has begun.
                data += compressor.flush(isal_zlib.Z_SYNC_FLUSH)
                is_first = False
            if data:
                yield data
        yield compressor.flush()

"""Content codings: what a client takes, and gzip."""

import re

GZIP_MIN_BYTES = 512
"""A smaller body is sent as it is."""


def takes_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding header admits gzip."""
    for entry in header.lower().split(",")[:32]:
        coding, _, parameters = entry.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q=0(\.0*)?\s*", parameters) is None
    return False


def compress(body: bytes) -> bytes:
    """Compress a body as gzip, at the level that costs least."""
    # Imported at the first need: not every proxy is ever asked for it.
    from isal import igzip

    return bytes(igzip.compress(body, 1))

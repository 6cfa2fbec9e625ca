"""The proxy's pure core: bytes and values in, bytes and values out; no I/O, no clock."""

"""Pure cores of the proxy: bytes and values in, bytes and values out. No I/O, no clock."""

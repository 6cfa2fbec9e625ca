"""HTTP/1.1 client and server on asyncio and httptools, with nothing specific to metrics."""

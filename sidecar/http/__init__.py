"""HTTP/1.1 on asyncio and httptools, both ends. It knows no metrics."""

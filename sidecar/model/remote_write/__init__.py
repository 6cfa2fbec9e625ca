"""Prometheus remote write 1.0: series and values as one request."""

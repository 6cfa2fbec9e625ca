"""Forwarding formats: Prometheus remote write 1.0 requests and Pushgateway bodies."""

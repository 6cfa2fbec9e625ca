"""Forwarding: a tenant's series sent to its own Prometheus, or any receiver of remote write."""

"""Livery's names for things in pods: container, port and annotations that a proxy reads."""

PROXY_CONTAINER = "livery-proxy"
PROXY_PORT = "livery"
"""Name of the port on which a pod's proxy serves the pod's metrics."""
INJECT = "livery.dev/inject"
TARGETS = "livery.dev/targets"
FALLBACK_PROTOCOL = "livery.dev/fallback-protocol"

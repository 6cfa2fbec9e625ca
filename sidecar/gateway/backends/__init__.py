"""The Prometheus servers behind the gateway."""

"""Role `gateway`: Prometheus' API for tenants."""

"""Prometheus' API for tenants: each sees its own series and no others."""

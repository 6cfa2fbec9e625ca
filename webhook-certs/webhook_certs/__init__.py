"""Serving certificates for webhooks: a private CA, leaves in memory, rotation without restarts.

Imports neither `injector`, `sidecar` nor a Kubernetes client: it could be a separate package.
"""

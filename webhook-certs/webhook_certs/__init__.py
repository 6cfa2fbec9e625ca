"""Serving certificates for webhooks: an own CA, leaves signed in memory, rotation without restart.

Imports neither `injector` nor `sidecar`, nor any Kubernetes client: it could be a package of its
own.
"""
